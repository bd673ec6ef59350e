// Memory in cells of 8 bytes over the dump, copy on write. Which cells several CPUs share is not declared but learnt:
// each starts as constant, becomes private to the CPU that writes it, and the first access by another CPU ends the
// exploration, which starts again with that cell shared. A finished exploration has seen no such access, so that
// everything it took for private was private in every order: a sound partial-order reduction.

import { virtualAddress } from "../../bytes/brand.ts";
import { UnsupportedError } from "../../bytes/errors.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import type { CodeMemory } from "../types.ts";
import type { Size } from "./registers.ts";

const CELL = 8n;

export interface Cell {
  /** a multiple of 8 */
  readonly address: bigint;
  /** initial value, little-endian */
  readonly base: bigint;
  /** index into the shared memory's cells; -1 while constant or private */
  readonly shared: number;
  /** the only CPU that wrote it; -1 for none */
  owner: number;
  /** bit mask of CPUs that read it */
  readers: number;
}

/** Thrown out of a run: this cell is shared after all. Not an error of the user's; the explorer catches it. */
export class SharingChange extends Error {
  constructor(readonly address: bigint) {
    super(`cell 0x${address.toString(16)} is shared`);
  }
}

export class Cells {
  private readonly cells = new Map<bigint, Cell>();

  /** @param sharedAddresses cell addresses in the order of their shared index */
  constructor(
    private readonly memory: CodeMemory,
    readonly sharedAddresses: readonly bigint[],
  ) {}

  /** The cell that holds `address`. @throws AddressError when the dump does not have it */
  at(address: bigint): Cell {
    const start = address & ~(CELL - 1n);
    let cell = this.cells.get(start);
    if (cell === undefined) {
      cell = {
        address: start,
        base: this.initial(start),
        shared: this.sharedAddresses.indexOf(start),
        owner: -1,
        readers: 0,
      };
      this.cells.set(start, cell);
    }
    return cell;
  }

  private initial(start: bigint): bigint {
    const bytes = this.memory.read(virtualAddress(start), 8);
    return getU64(bytes, 0);
  }

  /** Cells of an access, lowest first. @throws AddressError */
  span(address: bigint, size: Size): Cell[] {
    const first = this.at(address);
    const cells = [first];
    for (let at = first.address + CELL; at < address + BigInt(size); at += CELL) cells.push(this.at(at));
    return cells;
  }

  /**
   * Is this access one that other CPUs can see? Notes who touched what.
   * @throws SharingChange, AddressError, UnsupportedError (a shared access across an 8-byte boundary, which is not one step)
   */
  isShared(cpu: number, address: bigint, size: Size, write: boolean): boolean {
    if (Number(address & 7n) + size <= 8) {
      const cell = this.at(address);
      if (cell.shared >= 0) return true;
      this.touch(cell, cpu, write);
      return false;
    }
    const cells = this.span(address, size);
    const shared = cells.filter((c) => c.shared >= 0).length;
    if (shared === 0) {
      for (const cell of cells) this.touch(cell, cpu, write);
      return false;
    }
    for (const cell of cells) if (cell.shared < 0) throw new SharingChange(cell.address);
    if (cells.length > 1 && !(size === 16 && address % 16n === 0n))
      throw new UnsupportedError(
        `0x${address.toString(16)}`,
        `a shared access of ${size} bytes across 8-byte boundaries`,
      );
    return true;
  }

  private touch(cell: Cell, cpu: number, write: boolean): void {
    if (cell.owner >= 0 && cell.owner !== cpu) throw new SharingChange(cell.address);
    if (write) {
      if ((cell.readers & ~(1 << cpu)) !== 0) throw new SharingChange(cell.address);
      cell.owner = cpu;
    } else {
      cell.readers |= 1 << cpu;
    }
  }
}
