// A place in the kernel as people name it, "redo_fd_request+0x4da [floppy]": kept as its three parts while it is worked with,
// and written in one way. Nobody takes the text apart again.
import { formatAddress, type VirtualAddress } from "../bytes/brand.ts";
import type { SymbolTable } from "./types.ts";

export interface Place {
  readonly symbol: string;
  /** bytes from the symbol's address */
  readonly offset: number;
  /** the module's name; null for the core */
  readonly module: string | null;
}

/** The symbol at or below an address; undefined when no symbol is. */
export function placeOf(symbols: SymbolTable, address: VirtualAddress): Place | undefined {
  const near = symbols.nearest(address);
  return near && { symbol: near.symbol.name, offset: near.offset, module: near.symbol.module ?? null };
}

/** "schedule", "schedule+0x1d", "redo_fd_request+0x4da [floppy]" */
export function placeText({ symbol, offset, module }: Place): string {
  const plus = offset === 0 ? "" : `+0x${offset.toString(16)}`;
  return `${symbol}${plus}${module === null ? "" : ` [${module}]`}`;
}

/** The same as users write it in a command: "floppy:redo_fd_request+0x4da". */
export function placeArgument(place: Place): string {
  const { module } = place;
  return `${module === null ? "" : `${module}:`}${placeText({ ...place, module: null })}`;
}

/** Text of the place, or of the address where no symbol is. */
export function nameAddress(symbols: SymbolTable, address: VirtualAddress): string {
  const place = placeOf(symbols, address);
  return place === undefined ? formatAddress(address) : placeText(place);
}
