// Memory as one CPU's instructions see it during a step: private cells here, constants from the dump, and of the shared
// ones at most one load (its value supplied by the explorer) and one store (handed back to the explorer).
import { formatAddress } from "../../bytes/brand.ts";
import { UnsupportedError } from "../../bytes/errors.ts";
import { type Cell, type Cells, SharingChange } from "./cells.ts";
import { isOwnStack } from "./model-addresses.ts";
import type { Bus } from "./operation.ts";
import { maskOf, type Size } from "./registers.ts";
import type { SharedMemory } from "./shared-memory.ts";

export class CpuMemory implements Bus {
  private values = new Map<Cell, bigint>();
  private supplied: bigint | undefined;
  /** Store id of the step's shared store; -1 for none. */
  captured = -1;
  /** Stores to private memory so far. */
  privateStores = 0;

  constructor(
    private readonly cpu: number,
    private readonly cells: Cells,
    private readonly shared: SharedMemory,
  ) {}

  /** Starts a step: `value` is what its one shared load will read. */
  beginStep(value: bigint | undefined): void {
    this.supplied = value;
    this.captured = -1;
  }

  isShared(address: bigint, size: Size, write: boolean): boolean {
    return this.cells.isShared(this.cpu, address, size, write);
  }

  /** For memory that is shared by its nature. @throws SharingChange when it is not known as such yet */
  requireShared(address: bigint): void {
    const cell = this.cells.at(address);
    if (cell.shared < 0) throw new SharingChange(cell.address);
  }

  load(address: bigint, size: Size): bigint {
    if (this.isShared(address, size, false)) {
      if (this.supplied === undefined)
        throw new UnsupportedError(formatAddress(address), "a second shared load in one instruction");
      const value = this.supplied;
      this.supplied = undefined;
      return value;
    }
    const low = Number(address & 7n);
    if (low + size <= 8) {
      const cell = this.cells.at(address);
      const whole = this.values.get(cell) ?? cell.base;
      return size === 8 ? whole : (whole >> BigInt(low * 8)) & maskOf(size);
    }
    let value = 0n;
    for (const [i, cell] of this.cells.span(address, size).entries())
      value |= (this.values.get(cell) ?? cell.base) << BigInt(i * 64);
    return (value >> ((address & 7n) * 8n)) & maskOf(size);
  }

  /** 8 aligned bytes of the CPU's own stack; undefined elsewhere, or where another CPU uses it too. */
  ownStackSlot(address: bigint): bigint | undefined {
    if (!isOwnStack(this.cpu, address) || (address & 7n) !== 0n) return undefined;
    const cell = this.cells.at(address);
    return cell.shared >= 0 ? undefined : (this.values.get(cell) ?? cell.base);
  }

  store(address: bigint, size: Size, value: bigint): void {
    if (this.isShared(address, size, true)) {
      if (this.captured >= 0)
        throw new UnsupportedError(formatAddress(address), "a second shared store in one instruction");
      this.captured = this.shared.storeId(this.shared.accessId(address, size), value);
      return;
    }
    this.privateStores++;
    const shift = (address & 7n) * 8n;
    const mask = maskOf(size) << shift;
    for (const [i, cell] of this.cells.span(address, size).entries()) {
      const part = BigInt(i * 64);
      const old = this.values.get(cell) ?? cell.base;
      this.values.set(cell, BigInt.asUintN(64, (old & ~(mask >> part)) | ((value << shift) >> part)));
    }
  }

  /** Forgets the stack: a new run starts on an empty one. */
  clearStack(): void {
    for (const cell of this.values.keys()) if (isOwnStack(this.cpu, cell.address)) this.values.delete(cell);
  }

  /** Forgets everything, then takes over what a local state remembers. */
  restore(memory: readonly (readonly [Cell, bigint])[]): void {
    this.values = new Map(memory);
  }

  /** Cells that differ from their initial value, by address. What lies below RSP is dead: the kernel has no red zone. */
  snapshot(rsp: bigint): (readonly [Cell, bigint])[] {
    const out: [Cell, bigint][] = [];
    for (const [cell, value] of this.values) {
      if (value === cell.base) continue;
      if (cell.address + 8n <= rsp && isOwnStack(this.cpu, cell.address)) continue;
      out.push([cell, value]);
    }
    return out.sort(([a], [b]) => (a.address < b.address ? -1 : 1));
  }
}
