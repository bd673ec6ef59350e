// VMCOREINFO against the kernel's own symbols and variables: a note of another boot, or of another kernel, has addresses that
// look right and are not.
import { formatAddress, KERNEL_MAP_BASE } from "../bytes/brand.ts";
import type { VirtualMemory } from "../memory/types.ts";
import type { SymbolTable } from "../symbols/types.ts";
import { getU64 } from "./layouts/little-endian.ts";
import type { Vmcoreinfo } from "./vmcoreinfo.ts";

/** The largest CONFIG_PHYSICAL_START that makes sense, and the alignment that every kernel has (2 MiB). */
const LINK_AREA = 1n << 30n;
const ALIGNMENT = 1n << 21n;

/** What contradicts a VMCOREINFO, or undefined. @param symbols of kallsyms in the dump */
export function contradictionOf(
  vmcoreinfo: Vmcoreinfo,
  symbols: SymbolTable,
  memory: VirtualMemory,
  release: string | undefined,
): string | undefined {
  for (const name of ["_stext", "init_uts_ns", "swapper_pg_dir", "init_top_pgt"]) {
    const told = vmcoreinfo.symbol(name);
    const found = symbols.lookup(name)?.address;
    if (told !== undefined && found !== undefined && told !== found)
      return `${name} is ${formatAddress(told)} there and ${formatAddress(found)} in kallsyms`;
  }
  const physBase = vmcoreinfo.number("phys_base");
  const at = symbols.lookup("phys_base")?.address;
  const bytes = at === undefined ? undefined : memory.tryRead(at, 8);
  if (physBase !== undefined && bytes !== undefined && BigInt.asUintN(64, physBase) !== getU64(bytes, 0))
    return `phys_base is 0x${BigInt.asUintN(64, physBase).toString(16)} there and 0x${getU64(bytes, 0).toString(16)} in memory`;
  const text = symbols.lookup("_text")?.address;
  const { kernelOffset } = vmcoreinfo;
  if (text !== undefined && kernelOffset !== undefined) {
    const linked = text - kernelOffset - KERNEL_MAP_BASE;
    if (linked < 0n || linked >= LINK_AREA || kernelOffset % ALIGNMENT !== 0n)
      return `KERNELOFFSET is 0x${kernelOffset.toString(16)} there, but _text lies at ${formatAddress(text)}`;
  }
  if (release !== undefined && vmcoreinfo.release !== undefined && release !== vmcoreinfo.release)
    return `OSRELEASE is ${vmcoreinfo.release} there, and the kernel is ${release}`;
  return undefined;
}
