// Shared memory and store buffers as numbers. A whole content of shared memory is one integer, a whole store buffer is
// another, and reading, writing, pushing and popping are table look-ups after the first time.
import { formatAddress } from "../../bytes/brand.ts";
import { PairMap } from "../search/pair-map.ts";
import type { Cells } from "./cells.ts";
import { maskOf, type Size } from "./registers.ts";

/** A place of shared memory that some instruction reads or writes. */
export interface SharedAccess {
  readonly address: bigint;
  readonly size: Size;
}

/** A store on its way: what, where. */
export interface PendingStore extends SharedAccess {
  readonly value: bigint;
}

/** Gives equal things equal small numbers. */
class Interner<T> {
  readonly items: T[] = [];
  private readonly ids = new Map<string | bigint, number>();
  id(key: string | bigint, make: () => T): number {
    let id = this.ids.get(key);
    if (id === undefined) {
      id = this.items.length;
      this.items.push(make());
      this.ids.set(key, id);
    }
    return id;
  }
}

const FORWARD_NONE = 0;
const FORWARD_PARTIAL = 1;
const FORWARD_FULL = 2;
/** Bytes that a Map entry with a short key and its object cost, roughly: for the memory bound. */
const ENTRY_BYTES = 150;

export class SharedMemory {
  private readonly values = new Interner<bigint>();
  private readonly accesses = new Interner<SharedAccess>();
  private readonly stores = new Interner<{ readonly access: number; readonly value: bigint }>();
  private readonly contents = new Interner<BigUint64Array>();
  /** each buffer: store ids, oldest first; 0 is the empty one */
  private readonly buffers = new Interner<readonly number[]>();
  private readonly reads = new PairMap();
  private readonly writes = new PairMap();
  private readonly pushes = new PairMap();
  private readonly forwards = new PairMap();
  private readonly rests: number[] = [];
  readonly initial: number;

  constructor(private readonly cells: Cells) {
    const content = new BigUint64Array(Math.max(1, cells.sharedAddresses.length));
    cells.sharedAddresses.forEach((address, i) => {
      content[i] = cells.at(address).base;
    });
    this.initial = this.contentId(content);
    this.bufferId([]);
  }

  get bytes(): number {
    const entries =
      this.values.items.length + this.stores.items.length + this.contents.items.length + this.buffers.items.length;
    const rows = this.contents.items.length * this.contents.items[0].byteLength * 2;
    return (
      this.reads.bytes + this.writes.bytes + this.pushes.bytes + this.forwards.bytes + rows + entries * ENTRY_BYTES
    );
  }

  private contentId(content: BigUint64Array): number {
    const units = new Uint16Array(content.buffer, content.byteOffset, content.length * 4);
    return this.contents.id(String.fromCharCode(...units), () => content);
  }

  private bufferId(stores: readonly number[]): number {
    return this.buffers.id(stores.join(), () => stores);
  }

  valueId(value: bigint): number {
    return this.values.id(value, () => value);
  }
  value(id: number): bigint {
    return this.values.items[id];
  }
  accessId(address: bigint, size: Size): number {
    return this.accesses.id((address << 5n) | BigInt(size), () => ({ address, size }));
  }
  access(id: number): SharedAccess {
    return this.accesses.items[id];
  }
  storeId(access: number, value: bigint): number {
    return this.stores.id(`${access}:${value}`, () => ({ access, value }));
  }
  store(id: number): PendingStore {
    const { access, value } = this.stores.items[id];
    return { ...this.access(access), value };
  }

  /** `size` bytes at `address` in content `memory`, without a store buffer. The range must be shared. */
  peek(memory: number, address: bigint, size: Size): bigint {
    const content = this.contents.items[memory];
    let value = 0n;
    for (const [i, cell] of this.cells.span(address, size).entries()) value |= content[cell.shared] << BigInt(i * 64);
    return (value >> ((address & 7n) * 8n)) & maskOf(size);
  }

  /** The value id that memory `memory` holds for an access. */
  read(memory: number, access: number): number {
    let value = this.reads.get(memory, access);
    if (value < 0) {
      const { address, size } = this.access(access);
      value = this.valueId(this.peek(memory, address, size));
      this.reads.set(memory, access, value);
    }
    return value;
  }

  /** The content after a store has reached memory. */
  write(memory: number, store: number): number {
    let result = this.writes.get(memory, store);
    if (result < 0) {
      const { address, size, value } = this.store(store);
      const content = this.contents.items[memory].slice();
      const shift = (address & 7n) * 8n;
      const mask = maskOf(size) << shift;
      for (const [i, cell] of this.cells.span(address, size).entries()) {
        const part = BigInt(i * 64);
        content[cell.shared] = (content[cell.shared] & ~(mask >> part)) | ((value << shift) >> part);
      }
      result = this.contentId(content);
      this.writes.set(memory, store, result);
    }
    return result;
  }

  /** Buffer with one more store at its end. */
  push(buffer: number, store: number): number {
    let result = this.pushes.get(buffer, store);
    if (result < 0) {
      result = this.bufferId([...this.buffers.items[buffer], store]);
      this.pushes.set(buffer, store, result);
    }
    return result;
  }

  /** The oldest store of a buffer that is not empty. */
  oldest(buffer: number): number {
    return this.buffers.items[buffer][0];
  }
  /** The buffer without its oldest store. */
  rest(buffer: number): number {
    let result = this.rests[buffer];
    if (result === undefined) {
      result = this.bufferId(this.buffers.items[buffer].slice(1));
      this.rests[buffer] = result;
    }
    return result;
  }
  depth(buffer: number): number {
    return this.buffers.items[buffer].length;
  }

  /**
   * What a CPU with this buffer reads: byte by byte its own newest store, else memory. A load that a buffered store
   * covers in part is put together in the same way; processors rather wait for the drain there, which is one of the
   * orders explored anyway, so that nothing is left out.
   */
  view(memory: number, buffer: number, access: number): number {
    if (buffer === 0) return this.read(memory, access);
    let forward = this.forwards.get(buffer, access);
    if (forward < 0) {
      const { mask, value } = this.forwarded(buffer, access);
      const full = mask === maskOf(this.access(access).size);
      if (mask === 0n) forward = FORWARD_NONE;
      else if (full) forward = FORWARD_FULL + this.valueId(value);
      else forward = FORWARD_PARTIAL;
      this.forwards.set(buffer, access, forward);
    }
    if (forward >= FORWARD_FULL) return forward - FORWARD_FULL;
    const below = this.read(memory, access);
    if (forward === FORWARD_NONE) return below;
    const { mask, value } = this.forwarded(buffer, access);
    return this.valueId((this.value(below) & ~mask) | value);
  }

  /** Bytes of the access that the buffer covers (mask), with their newest values. */
  private forwarded(buffer: number, access: number): { mask: bigint; value: bigint } {
    const { address, size } = this.access(access);
    let mask = 0n;
    let value = 0n;
    for (const id of this.buffers.items[buffer]) {
      const store = this.store(id);
      if (store.address + BigInt(store.size) <= address || address + BigInt(size) <= store.address) continue;
      const shift = (store.address - address) * 8n;
      const bits = shiftLeft(maskOf(store.size), shift) & maskOf(size);
      mask |= bits;
      value = (value & ~bits) | (shiftLeft(store.value, shift) & bits);
    }
    return { mask, value };
  }

  /** "0x… ← 0x1 (1 byte)" a store, oldest first. */
  describeBuffer(buffer: number): string[] {
    return this.buffers.items[buffer].map((id) => this.describeStore(id));
  }
  describeStore(id: number): string {
    const { address, size, value } = this.store(id);
    return `${formatAddress(address)} ← 0x${value.toString(16)} (${size} byte${size === 1 ? "" : "s"})`;
  }
}

function shiftLeft(value: bigint, by: bigint): bigint {
  return by >= 0n ? value << by : value >> -by;
}
