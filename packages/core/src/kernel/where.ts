// WHERE as users write it: an address, a symbol, symbol+0x10, module:symbol.
import { addressAdd, formatAddress, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { MissingError } from "../bytes/errors.ts";
import { nameAddress } from "../symbols/place.ts";
import type { KernelSymbol } from "../symbols/types.ts";
import type { Kernel } from "./kernel.ts";
import { nearNames } from "./near-names.ts";

export interface ResolvedPlace {
  readonly address: VirtualAddress;
  /** Other symbols of the same name that were not chosen. */
  readonly others: readonly KernelSymbol[];
}

/**
 * Resolves WHERE. Of several symbols of a name the global one wins, then the first; the others are told.
 * @throws MissingError when nothing has that name
 */
export function resolvePlace(kernel: Kernel, where: string): ResolvedPlace {
  if (/^(0x)?[0-9a-f]{9,16}$/i.test(where) || /^0x[0-9a-f]{1,16}$/i.test(where)) {
    return { address: virtualAddress(BigInt(where.startsWith("0x") ? where : `0x${where}`)), others: [] };
  }
  const match = /^(?:([\w-]+):)?([^+:]+)(?:\+(0x[0-9a-f]+|\d+))?$/i.exec(where);
  if (match === null) throw new MissingError(`"${where}": neither an address nor a symbol`);
  const [, moduleName, name, plus] = match;
  const wanted = moduleName?.replaceAll("-", "_");
  const found = kernel.allSymbols
    .lookupAll(name)
    .filter(
      (symbol) =>
        wanted === undefined || symbol.module === wanted || (wanted === "vmlinux" && symbol.module === undefined),
    );
  if (found.length === 0) {
    const inModule = moduleName === undefined ? "" : ` in ${moduleName}`;
    const near = nearNames(kernel.allSymbols, name);
    const supply =
      near.length > 0 ? `did you mean ${near.join(", ")}?` : "palimpsest symbols DUMP PATTERN lists what there is";
    throw new MissingError(`the symbol ${name}${inModule}`, supply);
  }
  const chosen = found.find((symbol) => symbol.type >= "A" && symbol.type <= "Z") ?? found[0];
  const offset = plus === undefined ? 0n : BigInt(plus);
  if (chosen.address + offset >= 1n << 64n)
    throw new MissingError(
      `"${where}": ${formatAddress(chosen.address)} and ${plus} reach past the end of the address space`,
    );
  return {
    address: addressAdd(chosen.address, offset),
    others: found.filter((symbol) => symbol !== chosen),
  };
}

/** "symbol+0x10 (T) [module]" or the bare address. */
export function describeAddress(kernel: Kernel, address: VirtualAddress): string {
  const near = kernel.allSymbols.nearest(address);
  const name = nameAddress(kernel.allSymbols, address);
  return near === undefined ? name : `(${near.symbol.type}) ${name}`;
}
