// Which address a name means to a module that asks for it: exports of the core first, then those of other modules
// (resolve_symbol() in kernel/module/main.c).
import { addressAdd, KERNEL_MAP_BASE, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelSymbol } from "../symbols/types.ts";

const isGlobal = (symbol: KernelSymbol): boolean => symbol.type >= "A" && symbol.type <= "Z";

/**
 * The address that an export of this name resolves to; undefined when nothing defines it. `__ksymtab_NAME` decides where
 * kallsyms has it; else a global symbol goes before a local one of the same name.
 */
export function exportedSymbol(kernel: Kernel, name: string, asking: string): VirtualAddress | undefined {
  const candidates = kernel.symbols.lookupAll(name);
  const isFunction = candidates[0]?.type === "T";
  if (candidates.length === 1 && !isFunction) return candidates[0].address;
  const entry = kernel.symbols.lookup(`__ksymtab_${name}`);
  const target = entry && exportedValue(kernel, entry.address);
  if (candidates.length === 1) return oneOf(kernel, candidates[0].address, target);
  // kallsyms leaves absolute symbols out (up to 3.x), `jiffies` among them: then the export is all there is.
  if (candidates.length === 0 && target !== undefined) return target;
  if (candidates.length > 1) {
    const exact = candidates.find((symbol) => symbol.address === target);
    return (exact ?? candidates.find(isGlobal) ?? candidates[0]).address;
  }
  const elsewhere = kernel.allSymbols.lookupAll(name).filter((symbol) => symbol.module !== asking);
  return (elsewhere.find(isGlobal) ?? elsewhere[0])?.address;
}

/** kallsyms and the export agree; where a damaged dump has them differ, what looks more like a function's start is one. */
function oneOf(kernel: Kernel, told: VirtualAddress, target: VirtualAddress | undefined): VirtualAddress {
  if (target === undefined || target === told) return told;
  return likeness(kernel, target) > likeness(kernel, told) ? target : told;
}

/** 2: ENDBR64 or its replacement, or the NOP or call of ftrace, as nearly all exported functions begin; 0: no memory there. */
function likeness(kernel: Kernel, address: VirtualAddress): 0 | 1 | 2 {
  const bytes = kernel.memory.tryRead(address, 5);
  if (bytes === undefined) return 0;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return /^(f30f1efa|660f1f00|0f1f40d6|0f1f440000|6666666690|e8)/.test(hex) ? 2 : 1;
}

/**
 * The address in a struct kernel_symbol: {s32 value_offset; s32 name_offset; …} since 4.19
 * (HAVE_ARCH_PREL32_RELOCATIONS), {unsigned long value; const char *name} before.
 */
function exportedValue(kernel: Kernel, entry: VirtualAddress): VirtualAddress | undefined {
  const bytes = kernel.memory.tryRead(entry, 8);
  if (bytes === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const value = view.getBigUint64(0, true);
  // No name lies one byte before its entry, so the high half tells an address from an offset.
  return value >= KERNEL_MAP_BASE ? virtualAddress(value) : addressAdd(entry, view.getInt32(0, true));
}
