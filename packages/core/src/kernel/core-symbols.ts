// The core's symbols: kallsyms out of the dump. Kernels without CONFIG_KALLSYMS_ALL have only functions there, some have no
// kallsyms at all; then the symbol table of the vmlinux can stand in, once it has proved to be of this build.
import type { VirtualAddress } from "../bytes/brand.ts";
import { MissingError, PalimpsestError } from "../bytes/errors.ts";
import type { VirtualMemory } from "../memory/types.ts";
import { arraySymbolTable } from "../symbols/array-symbols.ts";
import { combineSymbols } from "../symbols/combine.ts";
import { findVariables } from "../symbols/exported-variables.ts";
import { findKallsyms } from "../symbols/find-kallsyms.ts";
import { type Kallsyms, kallsymsFromVmcoreinfo, readKallsyms } from "../symbols/kallsyms.ts";
import type { SymbolTable } from "../symbols/types.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Vmcoreinfo } from "./vmcoreinfo.ts";

/** The symbols of a file that the user gives. */
export interface GivenSymbols {
  readonly table: SymbolTable;
  /** The file. */
  readonly origin: string;
}

export interface CoreSymbols {
  readonly table: SymbolTable;
  readonly evidence: readonly string[];
  /** Set when most variables have no name: why, and what would supply them. */
  readonly lacking?: string;
}

/** The kernel image in memory is searched in full only when VMCOREINFO does not tell where kallsyms lies. */
const MAX_IMAGE = 256 << 20;
/** Functions that are compared between kallsyms and a given table. */
const SAMPLE = 512;
const SUPPLY = "give the vmlinux of this build, with its symbols, with --image";

/**
 * @param given asked only when kallsyms lacks data symbols or is not there
 * @throws MissingError when neither tells the kernel's variables
 */
export function readCoreSymbols(
  space: AddressSpace,
  vmcoreinfo: Vmcoreinfo | undefined,
  given: (() => GivenSymbols | undefined) | undefined,
  problems: string[],
): CoreSymbols {
  const own = ownSymbols(space, vmcoreinfo, problems);
  if (own?.lookup("linux_banner") !== undefined) {
    return { table: own, evidence: [`kallsyms: ${own.count} symbols, addresses ${own.encoding}`] };
  }
  const other = given?.();
  if (other !== undefined) {
    const fit = fitOf(other.table, space.memory, own);
    if (fit.fits) return { table: other.table, evidence: [`symbols: ${other.origin}, ${fit.why}`] };
    problems.push(`the symbols of ${other.origin} are not used: ${fit.why}`);
  }
  if (own === undefined) {
    throw new MissingError(
      "the kernel's symbol table (kallsyms)",
      `its pages may have been left out of this dump; if the kernel was built without it, ${SUPPLY}`,
    );
  }
  if (own.lookup("modules") === undefined && own.lookup("init_task") === undefined) {
    const { memory } = space;
    const read = (at: VirtualAddress, length: number) => memory.tryRead(at, length);
    const found = findVariables(imageBytes(space), space.image.start, own, read);
    const lacking = "kallsyms has no variables (built without CONFIG_KALLSYMS_ALL)";
    if (!found.some(({ name }) => name !== "linux_banner")) {
      throw new MissingError("every variable in this kernel's kallsyms (built without CONFIG_KALLSYMS_ALL)", SUPPLY);
    }
    return {
      table: combineSymbols(own, [arraySymbolTable(found)]),
      evidence: [`kallsyms: ${own.count} functions; ${found.length} variables are named by the table of exports`],
      lacking: `${lacking}; ${SUPPLY}`,
    };
  }
  return { table: own, evidence: [`kallsyms: ${own.count} symbols, addresses ${own.encoding}`] };
}

function ownSymbols(
  { memory, image }: AddressSpace,
  vmcoreinfo: Vmcoreinfo | undefined,
  problems: string[],
): Kallsyms | undefined {
  const told = vmcoreinfo && kallsymsFromVmcoreinfo((name) => vmcoreinfo.symbol(name));
  if (told !== undefined) {
    try {
      return readKallsyms(memory, told);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`kallsyms where VMCOREINFO says: ${error.message}; searched for instead`);
    }
  }
  const found = findKallsyms(imageBytes({ memory, image }), image.start);
  return found && readKallsyms(memory, found);
}

function imageBytes({ memory, image }: Pick<AddressSpace, "memory" | "image">): Uint8Array {
  const bytes = new Uint8Array(Math.min(image.length, MAX_IMAGE));
  memory.readPresent(image.start, bytes, () => {});
  return bytes;
}

/** Whether a table is of the build in the dump: its banner stands where it says, and functions where kallsyms says. */
function fitOf(
  table: SymbolTable,
  memory: VirtualMemory,
  own: SymbolTable | undefined,
): { readonly fits: boolean; readonly why: string } {
  const banner = table.lookup("linux_banner")?.address;
  if (banner === undefined || !isBanner(memory, banner)) {
    return { fits: false, why: "no banner stands where they have linux_banner" };
  }
  if (own === undefined) return { fits: true, why: "by the banner where they have linux_banner" };
  const theirs = new Map<string, VirtualAddress[]>();
  for (const { name, address } of table.all()) theirs.set(name, [...(theirs.get(name) ?? []), address]);
  let same = 0;
  let compared = 0;
  const step = Math.max(1, Math.floor(own.count / SAMPLE));
  let i = 0;
  for (const { name, address } of own.all()) {
    if (i++ % step !== 0) continue;
    compared++;
    if (theirs.get(name)?.includes(address)) same++;
  }
  const why = `${same} of ${compared} functions lie where kallsyms has them`;
  return { fits: same * 10 >= compared * 9, why };
}

function isBanner(memory: VirtualMemory, address: VirtualAddress): boolean {
  const bytes = memory.tryRead(address, 14);
  return bytes !== undefined && String.fromCharCode(...bytes) === "Linux version ";
}
