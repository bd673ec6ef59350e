// Which address a name means to a module that asks for it: exports of the core first, then those of other modules
// (resolve_symbol() in kernel/module/main.c).
import { addressAdd, type VirtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelSymbol } from "../symbols/types.ts";

const isGlobal = (symbol: KernelSymbol): boolean => symbol.type >= "A" && symbol.type <= "Z";

/**
 * The address that an export of this name resolves to; undefined when nothing defines it. `__ksymtab_NAME` decides where
 * kallsyms has it; else a global symbol goes before a local one of the same name.
 */
export function exportedSymbol(kernel: Kernel, name: string, asking: string): VirtualAddress | undefined {
  const candidates = kernel.symbols.lookupAll(name);
  if (candidates.length === 1) return candidates[0].address;
  if (candidates.length > 1) {
    const entry = kernel.symbols.lookup(`__ksymtab_${name}`);
    const bytes = entry && kernel.memory.tryRead(entry.address, 4);
    if (entry !== undefined && bytes !== undefined) {
      // struct kernel_symbol {s32 value_offset; …} since 4.19 (HAVE_ARCH_PREL32_RELOCATIONS)
      const target = addressAdd(entry.address, new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, true));
      const exact = candidates.find((symbol) => symbol.address === target);
      if (exact !== undefined) return exact.address;
    }
    return (candidates.find(isGlobal) ?? candidates[0]).address;
  }
  const elsewhere = kernel.allSymbols.lookupAll(name).filter((symbol) => symbol.module !== asking);
  return (elsewhere.find(isGlobal) ?? elsewhere[0])?.address;
}
