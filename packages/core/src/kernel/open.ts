// From a dump to a Kernel. No image, no System.map and no debug package is needed: VMCOREINFO or the CPUs' registers
// lead to the page tables, the kernel's own kallsyms give names, its own BTF gives layouts.
import { addressAdd, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { readNotes } from "../bytes/elf.ts";
import { MissingError, PalimpsestError } from "../bytes/errors.ts";
import { changedDump } from "../memory/changed-dump.ts";
import type { Dump, VirtualMemory } from "../memory/types.ts";
import { combineSymbols } from "../symbols/combine.ts";
import type { SymbolTable, TypeTable } from "../symbols/types.ts";
import { type AddressSpace, locateKernel } from "./address-space.ts";
import { type CoreSymbols, type GivenSymbols, readCoreSymbols } from "./core-symbols.ts";
import { readCpuFeatures } from "./cpu-features.ts";
import { assignNotes } from "./cpus/assign-notes.ts";
import { readOnline } from "./cpus/online.ts";
import type { Kernel } from "./kernel.ts";
import { getU64 } from "./layouts/little-endian.ts";
import { Structures } from "./layouts/structures.ts";
import { type GivenTypes, openTypes, type TypesContext } from "./layouts/type-sources.ts";
import { moduleSymbols } from "./modules/module-symbols.ts";
import { readModules } from "./modules/modules.ts";
import { parseVmcoreinfo, type Vmcoreinfo } from "./vmcoreinfo.ts";
import { contradictionOf } from "./vmcoreinfo-check.ts";

export interface OpenKernelOptions {
  /** Layouts out of a file that the user gives. May throw, when the file belongs to another build. */
  readonly types?: (context: TypesContext) => GivenTypes | undefined;
  /** Symbols out of a file that the user gives, for kernels whose kallsyms has no variables. */
  readonly symbols?: () => GivenSymbols | undefined;
}

/**
 * @throws MissingError when there is no kernel to be found, or one without symbols
 */
export function openKernel(dump: Dump, options: OpenKernelOptions = {}): Kernel {
  const problems: string[] = [];
  const unseen: string[] = [];
  const tellUnseen = (what: string): void => {
    unseen.push(what);
    problems.push(what);
  };
  const located = locateKernel(dump, problems);
  const { space } = located;
  const core = symbolsIn(space, () => readCoreSymbols(space, located.vmcoreinfo, options.symbols, problems));
  const symbols = core.table;
  if (space.linear !== undefined) tellUnseen(space.linear.missing);
  const memory = memoryOf(space, symbols);
  const find = (name: string): VirtualAddress | undefined => symbols.lookup(name)?.address;
  const address = (name: string): VirtualAddress => {
    const found = find(name);
    if (found === undefined) throw new MissingError(`the symbol ${name}`);
    return found;
  };
  const banner = find("linux_banner");
  const version = banner === undefined ? "" : (readText(memory, banner, 512) ?? "").trim();
  const bannerRelease = /^Linux version (\S+)/.exec(version)?.[1];
  const other = located.vmcoreinfo && contradictionOf(located.vmcoreinfo, symbols, memory, bannerRelease);
  if (other !== undefined) problems.push(`VMCOREINFO is of another boot or kernel: ${other}; it is not used`);
  const trusted = other === undefined ? located.vmcoreinfo : undefined;
  const vmcoreinfo = trusted ?? ownVmcoreinfo(memory, find, symbols, bannerRelease);
  const release = bannerRelease ?? vmcoreinfo?.release ?? "";
  if (release === "") problems.push("the kernel's release is unknown: neither linux_banner nor VMCOREINFO tells it");
  const buildId = readBuildId(memory, find) ?? vmcoreinfo?.buildId;
  const context = { memory, symbols, buildId, release, version };
  const { types, evidence } = openTypes(context, options.types?.(context), problems);
  const structures = new Structures(memory, types);
  // A kernel without CONFIG_MODULES has neither the list nor the code that loads.
  const modular = find("modules") !== undefined || find("load_module") !== undefined;
  const modules = modular ? readModules(structures, find("modules"), problems, tellUnseen) : [];
  const cpuContext = { memory, structures, symbols };
  const cpus = assignNotes(dump, cpuContext, problems);
  const { contradiction } = readOnline({ cpus }, cpuContext);
  if (contradiction !== undefined) tellUnseen(contradiction);
  let combined: SymbolTable | undefined;
  return {
    dump: changedDump(dump, { cpus }),
    memory,
    vmcoreinfo,
    addressSpace: space.evidence,
    release,
    version,
    buildId,
    symbols,
    lackingSymbols: core.lacking,
    types,
    structures,
    modules,
    get allSymbols() {
      combined ??= combineSymbols(
        symbols,
        modules.map((module) => moduleSymbols(memory, module, problems)),
      );
      return combined;
    },
    features: readCpuFeatures(structures, find("boot_cpu_data"), problems),
    kaslrOffset: vmcoreinfo?.kernelOffset,
    initFreed: isInitFreed(memory, types, find),
    evidence: [...core.evidence, ...evidence],
    // Asked when a command is done: pages that cannot be unpacked and types that contradict themselves show as they are met.
    get problems() {
      return [...dump.problems, ...(types.problems?.() ?? []), ...problems];
    },
    unseen,
    address,
    find,
  };
}

/** Where there were no page tables, a missing symbol table is the smaller half of the truth. */
function symbolsIn({ linear }: AddressSpace, read: () => CoreSymbols): CoreSymbols {
  try {
    return read();
  } catch (error) {
    if (linear === undefined || !(error instanceof MissingError)) throw error;
    throw new MissingError(
      "a page table that maps a Linux x86-64 kernel",
      `${linear.missing}; and then: ${error.message}`,
    );
  }
}

/** Without page tables the direct mapping is known by its base, a variable of the image (page_offset_base, 4.8). */
function memoryOf({ memory, linear }: AddressSpace, symbols: SymbolTable): VirtualMemory {
  const at = linear === undefined ? undefined : symbols.lookup("page_offset_base")?.address;
  const bytes = at === undefined ? undefined : memory.tryRead(at, 8);
  const base = bytes === undefined ? 0n : getU64(bytes, 0);
  return linear === undefined || base < 0xff00_0000_0000_0000n ? memory : linear.withDirect(base);
}

/** VMCOREINFO by the kernel's own variables, for dumps whose writer made no note of it. */
function ownVmcoreinfo(
  memory: VirtualMemory,
  find: (name: string) => VirtualAddress | undefined,
  symbols: SymbolTable,
  release: string | undefined,
): Vmcoreinfo | undefined {
  // vmcoreinfo_data: a pointer since 4.12 (203e9e41219b), an array before
  const at = find("vmcoreinfo_data");
  const bytes = at === undefined ? undefined : memory.tryRead(at, 8);
  if (at === undefined || bytes === undefined) return undefined;
  for (const place of [virtualAddress(getU64(bytes, 0)), at]) {
    const text = place < 1n << 63n ? undefined : readText(memory, place, 4096);
    if (text === undefined || !text.startsWith("OSRELEASE=")) continue;
    const own = parseVmcoreinfo(text);
    if (contradictionOf(own, symbols, memory, release) === undefined) return own;
  }
  return undefined;
}

function readText(memory: VirtualMemory, address: VirtualAddress, max: number): string | undefined {
  try {
    return memory.cstring(address, max);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

/** GNU build-id out of the notes that the linker put between __start_notes and __stop_notes. */
function readBuildId(memory: VirtualMemory, find: (name: string) => VirtualAddress | undefined): string | undefined {
  const start = find("__start_notes");
  const stop = find("__stop_notes");
  if (start === undefined || stop === undefined || stop <= start || stop - start > 65536n) return undefined;
  try {
    const notes = readNotes(memory.read(start, Number(stop - start)), "notes of the kernel");
    const id = notes.find((note) => note.name === "GNU" && note.type === 3);
    return id && Array.from(id.desc, (byte) => byte.toString(16).padStart(2, "0")).join("");
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

/** kernel_init() frees init memory just before system_state becomes SYSTEM_RUNNING (init/main.c). */
function isInitFreed(
  memory: VirtualMemory,
  types: TypeTable,
  find: (name: string) => VirtualAddress | undefined,
): boolean {
  const at = find("system_state");
  if (at === undefined) return true;
  try {
    // Without the enum (no BTF): SYSTEM_BOOTING 0; SYSTEM_RUNNING 1 before 4.13, 2 with SYSTEM_SCHEDULING, later FREEING_INITMEM.
    const freeing = types.enumerator("system_states", "SYSTEM_FREEING_INITMEM");
    const running = types.enumerator("system_states", "SYSTEM_RUNNING") ?? 1n;
    return BigInt(memory.u32(at)) >= (freeing ?? running);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return true;
  }
}

/** Bytes between two core symbols, as [start, length]; undefined when either is unknown or they are not in order. */
export function symbolRange(
  kernel: Kernel,
  start: string,
  stop: string,
): { start: VirtualAddress; length: number } | undefined {
  const from = kernel.find(start);
  const to = kernel.find(stop);
  return from === undefined || to === undefined || to <= from
    ? undefined
    : { start: addressAdd(from, 0), length: Number(to - from) };
}
