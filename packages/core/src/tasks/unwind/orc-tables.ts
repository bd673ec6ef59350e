// The ORC tables of core and modules as they lie in the dump: for an instruction, where its caller's stack pointer, frame
// pointer and return address are. Looked up by bisection, a chunk at a time; nothing is copied as a whole.

import { addressAdd, toKernelOffset, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import { kept } from "../../kernel/kept.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU32 } from "../../kernel/layouts/little-endian.ts";
import { decodeOrc, ORC_ENTRY_SIZE, type OrcEntry, type OrcVersion, orcVersion } from "./orc-entry.ts";

interface Table {
  /** "vmlinux" or the module */
  readonly name: string;
  readonly ips: VirtualAddress;
  readonly entries: VirtualAddress;
  readonly count: number;
}

/** Entries of the instruction table that are read together. */
const CHUNK = 512;
/** No kernel has more: 6.12 has 900,000. */
const MAX_ENTRIES = 1 << 24;
/** Entries that are looked at to tell the encoding. */
const SAMPLE = 6000;

export class OrcTables {
  private readonly core: Table | undefined;
  private readonly modules = new Map<string, Table | null>();
  private readonly chunks = new Map<bigint, Uint8Array | null>();
  private readonly known = new Map<number, OrcEntry | null>();
  readonly version: OrcVersion | undefined;
  /** Why there are none that can be used; undefined when there are. */
  readonly problem: string | undefined;

  constructor(private readonly kernel: Kernel) {
    const [from, to] = ["__start_orc_unwind_ip", "__stop_orc_unwind_ip"].map((name) => kernel.find(name));
    const [first, last] = ["__start_orc_unwind", "__stop_orc_unwind"].map((name) => kernel.find(name));
    if (from === undefined || to === undefined || first === undefined) {
      this.problem = "this kernel has no ORC tables";
      return;
    }
    const count = Math.floor(Number(to - from) / 4);
    const held = last === undefined ? count : Math.floor(Number(last - first) / ORC_ENTRY_SIZE);
    if (count < 1 || count > MAX_ENTRIES || held !== count) {
      this.problem = `the ORC tables do not fit together: ${count} instructions, ${held} entries`;
      return;
    }
    this.core = { name: "vmlinux", ips: from, entries: first, count };
    this.version = this.tellVersion(this.core);
    if (this.version === undefined) this.problem = "the ORC tables are of an encoding that is not known";
  }

  private tellVersion({ entries, count }: Table): OrcVersion | undefined {
    const take = Math.min(count, SAMPLE);
    // Core text begins with a few functions of assembler: the middle is C.
    const start = Math.floor((count - take) / 2);
    const bytes = this.kernel.memory.tryRead(addressAdd(entries, start * ORC_ENTRY_SIZE), take * ORC_ENTRY_SIZE);
    const { types } = this.kernel;
    const knows =
      types.sizeOf("struct orc_entry") === undefined
        ? undefined
        : types.member("struct orc_entry", "signal") !== undefined;
    return bytes === undefined ? undefined : orcVersion(bytes, knows);
  }

  /** The entry of the instruction at `ip`; undefined where no table covers it or its page is not in the dump. */
  find(ip: bigint): OrcEntry | undefined {
    const offset = toKernelOffset(ip);
    if (offset === undefined || this.version === undefined) return undefined;
    let entry = this.known.get(offset);
    if (entry === undefined) {
      const table = this.tableOf(ip);
      entry = (table && this.search(table, ip)) ?? null;
      this.known.set(offset, entry);
    }
    return entry ?? undefined;
  }

  private tableOf(ip: bigint): Table | undefined {
    for (const module of this.kernel.modules) {
      const inside = [module.text, ...module.regions].some(({ base, size }) => ip >= base && ip < base + BigInt(size));
      if (!inside) continue;
      let table = this.modules.get(module.name);
      if (table === undefined) {
        table = this.moduleTable(module.address, module.name) ?? null;
        this.modules.set(module.name, table);
      }
      return table ?? undefined;
    }
    return this.core;
  }

  /** struct module.arch: mod_arch_specific {num_orcs, orc_unwind_ip, orc_unwind}, 4.14. */
  private moduleTable(address: VirtualAddress, name: string): Table | undefined {
    const { structures: s } = this.kernel;
    const type = "struct module";
    if (!s.has(type, "arch.num_orcs")) return undefined;
    try {
      const count = s.number(address, type, "arch.num_orcs");
      if (count < 1 || count > MAX_ENTRIES) return undefined;
      return {
        name,
        ips: s.pointer(address, type, "arch.orc_unwind_ip"),
        entries: s.pointer(address, type, "arch.orc_unwind"),
        count,
      };
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  /** The instruction that entry `i` begins at: the tables hold distances from themselves. */
  private ipOf(table: Table, i: number): bigint | undefined {
    const first = i - (i % CHUNK);
    const start = addressAdd(table.ips, first * 4);
    let chunk = this.chunks.get(start);
    if (chunk === undefined) {
      chunk = this.kernel.memory.tryRead(start, Math.min(CHUNK, table.count - first) * 4) ?? null;
      this.chunks.set(start, chunk);
    }
    if (chunk === null) return undefined;
    return table.ips + BigInt(i * 4) + BigInt(getU32(chunk, (i - first) * 4) | 0);
  }

  private search(table: Table, ip: bigint): OrcEntry | undefined {
    let low = 0;
    let high = table.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.ipOf(table, middle);
      if (at === undefined) return undefined;
      if (at <= ip) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const found = this.ipOf(table, low - 1);
    const next = low < table.count ? this.ipOf(table, low) : undefined;
    // A damaged table is not sorted: bisection may end anywhere.
    if (found === undefined || found > ip || (next !== undefined && next <= ip)) return undefined;
    const bytes = this.kernel.memory.tryRead(addressAdd(table.entries, (low - 1) * ORC_ENTRY_SIZE), ORC_ENTRY_SIZE);
    return bytes && this.version && decodeOrc(bytes, 0, this.version);
  }
}

const makeTables = (kernel: Kernel): OrcTables => new OrcTables(kernel);

/** The tables of a kernel, made once. */
export function orcTables(kernel: Kernel): OrcTables {
  return kept(kernel, makeTables);
}

/** A stack address as the tables count: no overflow beyond 64 bits. */
export const stackAdd = (address: bigint, bytes: number): VirtualAddress =>
  virtualAddress(BigInt.asUintN(64, address + BigInt(bytes)));
