// ftrace's own records: which call sites it knows, what each should hold, and which ops are registered
// (kernel/trace/ftrace.c). Core and modules share one list of pages.
import { addressAdd, type KernelOffset, toKernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import { FtraceHashes } from "./ftrace-hash.ts";
import type { Kernel } from "./kernel.ts";
import { getU32 } from "./little-endian.ts";

/** Bits of dyn_ftrace.flags since 3.19 (include/linux/ftrace.h); the low bits count references. */
export const FTRACE_FL = {
  ENABLED: 0x80000000,
  REGS_EN: 0x20000000,
  TRAMP_EN: 0x08000000,
  DISABLED: 0x02000000,
  DIRECT_EN: 0x00800000,
} as const;
/** Before 3.15: FTRACE_FL_ENABLED was bit 30 and the only state bit used here. */
const FL_ENABLED_OLD = 0x40000000;

export interface FtraceOps {
  readonly address: VirtualAddress;
  readonly func: VirtualAddress;
  /** 0 when it has none */
  readonly trampoline: VirtualAddress;
  /** bytes, from ops->trampoline_size; 0 when unknown */
  readonly trampolineSize: number;
  /** True when the ops traces the function at this site. */
  traces(ip: KernelOffset): boolean;
}

export interface FtraceRecords {
  /** Call sites, ascending. */
  readonly ips: Uint32Array;
  /** Low 32 bits of the flags, in FTRACE_FL's bits, of each site. */
  readonly flags: Uint32Array;
  readonly ops: readonly FtraceOps[];
  /** The direct trampoline of a site with DIRECT_EN. */
  direct(ip: KernelOffset): VirtualAddress | undefined;
  /** Index of the record, or -1. */
  indexOf(ip: KernelOffset): number;
}

const MAX_PAGES = 1 << 16;
const MAX_RECORDS = 1 << 22;
const MAX_OPS = 4096;

const cache = new WeakMap<Kernel, FtraceRecords | null>();

/** The records, read once a kernel; undefined for a kernel without dynamic ftrace. */
export function ftraceRecords(kernel: Kernel, problems: string[]): FtraceRecords | undefined {
  let records = cache.get(kernel);
  if (records === undefined) {
    records = kernel.find("ftrace_pages_start") === undefined ? null : read(kernel, problems);
    cache.set(kernel, records);
  }
  return records ?? undefined;
}

function read(kernel: Kernel, problems: string[]): FtraceRecords | null {
  const { structures: s, memory } = kernel;
  const PAGE = "struct ftrace_page";
  const REC = "struct dyn_ftrace";
  if (!s.has(PAGE, "next") || !s.has(REC, "ip")) {
    problems.push(`struct ftrace_page has no known layout (${s.types.origin}): ftrace sites are taken as built`);
    return null;
  }
  const ips: number[] = [];
  const flags: number[] = [];
  const modern = s.has("struct ftrace_ops", "trampoline");
  try {
    const size = s.size(REC);
    const ipAt = s.offset(REC, "ip");
    const flagsAt = s.offset(REC, "flags");
    const recordsMember = s.find(PAGE, "records");
    const inline = recordsMember !== undefined && !recordsMember.typeName.includes("*"); // records[] before 3.4
    const seen = new Set<bigint>();
    let page = memory.pointer(kernel.address("ftrace_pages_start"));
    while (page !== 0n) {
      if (seen.has(page) || seen.size >= MAX_PAGES) {
        problems.push(`the list of ftrace pages ${seen.has(page) ? "has a cycle" : "is too long"}: cut`);
        break;
      }
      seen.add(page);
      const count = s.number(page, PAGE, "index");
      if (count * size > 1 << 24 || ips.length + count > MAX_RECORDS) {
        problems.push(`an ftrace page claims ${count} records: cut`);
        break;
      }
      const start = inline ? addressAdd(page, recordsMember?.offset ?? 0) : s.pointer(page, PAGE, "records");
      const bytes = memory.read(start, count * size);
      for (let i = 0; i < count; i++) {
        const at = i * size;
        if (getU32(bytes, at + ipAt + 4) !== 0xffffffff) continue; // a free record
        const low = getU32(bytes, at + ipAt);
        if (low < 0x80000000) continue;
        ips.push(low - 0x80000000);
        const raw = getU32(bytes, at + flagsAt);
        flags.push(modern ? raw : (raw & FL_ENABLED_OLD) !== 0 ? FTRACE_FL.ENABLED : 0);
      }
      page = s.pointer(page, PAGE, "next");
    }
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`ftrace records: ${error.message}; ${ips.length} were read`);
  }
  const order = sortedOrder(ips);
  const sortedIps = Uint32Array.from(order, (i) => ips[i]);
  const sortedFlags = Uint32Array.from(order, (i) => flags[i]);
  const hashes = new FtraceHashes(kernel, problems);
  const ops = readOps(kernel, hashes, problems);
  return {
    ips: sortedIps,
    flags: sortedFlags,
    ops,
    direct: (ip) => hashes.direct(ip, ops),
    indexOf: (ip) => {
      let low = 0;
      let high = sortedIps.length - 1;
      while (low <= high) {
        const middle = (low + high) >> 1;
        if (sortedIps[middle] === ip) return middle;
        if (sortedIps[middle] < ip) low = middle + 1;
        else high = middle - 1;
      }
      return -1;
    },
  };
}

/** Pages hold ascending runs already; sorting 45,000 indices through a comparator would cost more than all the rest. */
function sortedOrder(ips: readonly number[]): Uint32Array {
  const keys = new Float64Array(ips.length);
  for (let i = 0; i < ips.length; i++) keys[i] = ips[i] * 2 ** 22 + i;
  keys.sort();
  return Uint32Array.from(keys, (key) => key % 2 ** 22);
}

function readOps(kernel: Kernel, hashes: FtraceHashes, problems: string[]): FtraceOps[] {
  const { structures: s, memory } = kernel;
  const OPS = "struct ftrace_ops";
  const head = kernel.find("ftrace_ops_list");
  const end = kernel.find("ftrace_list_end");
  const out: FtraceOps[] = [];
  if (head === undefined || !s.has(OPS, "next")) return out;
  try {
    const seen = new Set<bigint>();
    for (let at = memory.pointer(head); at !== 0n && at !== end; at = s.pointer(at, OPS, "next")) {
      if (seen.has(at) || seen.size >= MAX_OPS) {
        problems.push("the list of ftrace_ops has a cycle or is too long: cut");
        break;
      }
      seen.add(at);
      const address = at;
      const hash = hashes.of(address);
      out.push({
        address,
        func: s.pointer(at, OPS, "func"),
        trampoline: s.has(OPS, "trampoline") ? s.pointer(at, OPS, "trampoline") : (0n as VirtualAddress),
        trampolineSize: s.has(OPS, "trampoline_size") ? s.number(at, OPS, "trampoline_size") : 0,
        traces: hash,
      });
    }
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`ftrace_ops: ${error.message}`);
  }
  return out;
}

/** Offset of a function pointer variable's value from KERNEL_MAP_BASE; undefined when unreadable or outside. */
export function pointerOffset(kernel: Kernel, symbol: string): KernelOffset | undefined {
  const at = kernel.find(symbol);
  const bytes = at === undefined ? undefined : kernel.memory.tryRead(at, 8);
  return bytes === undefined
    ? undefined
    : toKernelOffset(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
}
