// Variables of a kernel whose kallsyms has functions only (no CONFIG_KALLSYMS_ALL): the table of exported symbols names
// them, the list of modules proves itself by its nodes, and the banner by its text.
import { addressAdd, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { KernelSymbol, SymbolTable } from "./types.ts";

/** struct kernel_symbol {unsigned long value; const char *name}, up to 4.18. */
const ENTRY = 16;
/** Exported by every kernel; one of them in its entry leads to the whole table. */
const ANCHORS = ["printk", "kfree", "__kmalloc", "schedule", "register_kprobe", "kallsyms_lookup_name"];
const MAX_NAME = 128;
const MAX_EXPORTS = 1 << 17;
/** Per-CPU variables are exported by their offset, which is small. */
const MAX_PERCPU = 1 << 24;
const HIGH = 0xffffffff;
/** Modules lie in the last 2 GiB, behind the kernel. */
const MODULES_START = 0xa0000000;
const MODULES_END = 0xff000000;
const BANNER = "Linux version ";

/**
 * @param bytes the kernel's image in memory
 * @param base address of the first byte, a multiple of 8
 * @param functions what kallsyms has
 * @param read bytes of other memory, for the nodes of the list of modules
 */
export function findVariables(
  bytes: Uint8Array,
  base: VirtualAddress,
  functions: SymbolTable,
  read: (address: VirtualAddress, length: number) => Uint8Array | undefined,
): KernelSymbol[] {
  const image = new Image(bytes, base);
  const out = new Map<string, KernelSymbol>();
  const add = (name: string, address: VirtualAddress): void => {
    if (!out.has(name) && functions.lookup(name) === undefined) out.set(name, { name, address, type: "D" });
  };
  for (const anchor of ANCHORS) {
    const address = functions.lookup(anchor)?.address;
    const at = address === undefined ? undefined : image.entryOf(anchor, address);
    if (at !== undefined) for (const [name, value] of image.exportsAround(at)) add(name, value);
  }
  const head = image.modulesHead(read);
  if (head !== undefined) add("modules", head);
  const banner = image.text(BANNER);
  if (banner !== undefined) add("linux_banner", banner);
  return [...out.values()];
}

class Image {
  private readonly view: DataView;
  private readonly low: number;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly base: VirtualAddress,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.low = Number(base & 0xffffffffn);
  }

  /** Where the entry of an exported function lies. */
  entryOf(name: string, address: VirtualAddress): number | undefined {
    const low = Number(address & 0xffffffffn);
    for (let at = 0; at + ENTRY <= this.bytes.length; at += 8) {
      if (this.view.getUint32(at, true) === low && this.view.getUint32(at + 4, true) === HIGH) {
        if (this.nameAt(at) === name) return at;
      }
    }
    return undefined;
  }

  /** The table's entries in both directions, as long as they are some. */
  *exportsAround(at: number): Iterable<[string, VirtualAddress]> {
    let count = 0;
    for (const step of [ENTRY, -ENTRY]) {
      for (let i = step > 0 ? at : at - ENTRY; i >= 0 && i + ENTRY <= this.bytes.length; i += step) {
        const high = this.view.getUint32(i + 4, true);
        const small = high === 0 && this.view.getUint32(i, true) < MAX_PERCPU;
        const name = high === HIGH || small ? this.nameAt(i) : undefined;
        if (name === undefined || ++count > MAX_EXPORTS) break;
        yield [name, virtualAddress(this.view.getBigUint64(i, true))];
      }
    }
  }

  /** The string that the second half of an entry points to; a name in C, right behind another string's end. */
  private nameAt(at: number): string | undefined {
    if (this.view.getUint32(at + 12, true) !== HIGH) return undefined;
    const from = this.view.getUint32(at + 8, true) - this.low;
    if (from <= 0 || from >= this.bytes.length || this.bytes[from - 1] !== 0) return undefined;
    const end = this.bytes.indexOf(0, from);
    if (end <= from || end - from > MAX_NAME) return undefined;
    const name = String.fromCharCode(...this.bytes.subarray(from, end));
    return /^[A-Za-z_]\w*$/.test(name) ? name : undefined;
  }

  /** A list head in the kernel whose first node is a struct module {u32 state; list; char name[]}. */
  modulesHead(read: (address: VirtualAddress, length: number) => Uint8Array | undefined): VirtualAddress | undefined {
    const inModules = (at: number): boolean => {
      const low = this.view.getUint32(at, true);
      return this.view.getUint32(at + 4, true) === HIGH && low >= MODULES_START && low < MODULES_END && (low & 7) === 0;
    };
    for (let at = 0; at + 16 <= this.bytes.length; at += 8) {
      if (!inModules(at) || !inModules(at + 8)) continue;
      const head = addressAdd(this.base, at);
      const first = virtualAddress(this.view.getBigUint64(at, true));
      const node = read(addressAdd(first, -8), 80);
      if (node === undefined) continue;
      const view = new DataView(node.buffer, node.byteOffset, node.length);
      const name = /^[\w-]+/.exec(String.fromCharCode(...node.subarray(24)))?.[0] ?? "";
      const ended = node[24 + name.length] === 0;
      if (view.getBigUint64(16, true) === head && view.getUint32(0, true) <= 3 && name !== "" && ended) return head;
    }
    return undefined;
  }

  /** Where a text stands that a digit follows. */
  text(wanted: string): VirtualAddress | undefined {
    const first = wanted.charCodeAt(0);
    for (let at = this.bytes.indexOf(first); at >= 0; at = this.bytes.indexOf(first, at + 1)) {
      const end = at + wanted.length;
      if (end >= this.bytes.length) return undefined;
      if (this.bytes[end] < 0x30 || this.bytes[end] > 0x39) continue;
      if (String.fromCharCode(...this.bytes.subarray(at, end)) === wanted) return addressAdd(this.base, at);
    }
    return undefined;
  }
}
