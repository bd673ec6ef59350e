// ftrace's own records: which call sites it knows, what each should hold, and which ops are registered
// (kernel/trace/ftrace.c). Core and modules share one list of pages.

import { addressAdd, type KernelOffset, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { MissingError, PalimpsestError } from "../../bytes/errors.ts";
import { kept } from "../kept.ts";
import type { Kernel } from "../kernel.ts";
import { walkList } from "../layouts/lists.ts";
import { getU32, getU64 } from "../layouts/little-endian.ts";
import { flagLayout, normalFlags } from "./ftrace-flags.ts";
import { FtraceHashes } from "./ftrace-hash.ts";

export { FTRACE_FL } from "./ftrace-flags.ts";

export interface FtraceOps {
  readonly address: VirtualAddress;
  readonly func: VirtualAddress;
  /** 0 when it has none */
  readonly trampoline: VirtualAddress;
  /** bytes, from ops->trampoline_size; 0 when unknown */
  readonly trampolineSize: number;
  /** True when the ops traces the function at this site. */
  traces(ip: KernelOffset): boolean;
  /** The same before the change of its filter that is under way; without meaning at other times. */
  traced(ip: KernelOffset): boolean;
  /** FTRACE_OPS_FL_*, numbered differently by release */
  readonly flags: number;
}

export interface FtraceRecords {
  /** False when some pages of records could not be read: a site without a record may have one there. */
  readonly complete: boolean;
  /** Call sites, ascending. */
  readonly ips: Uint32Array;
  /** Low 32 bits of the flags, in FTRACE_FL's bits, of each site. */
  readonly flags: Uint32Array;
  /** The layout that is missing to read the records; undefined when they could be read. */
  readonly unknown: string | undefined;
  /** The layout that is missing to tell which ops traces what; undefined when nothing is. */
  unknownOps(): string | undefined;
  readonly ops: readonly FtraceOps[];
  /** Just being unregistered: no longer on the list, but sites that were not reached yet still lead to their trampoline. */
  readonly leaving: readonly FtraceOps[];
  /** The direct trampoline of a site with DIRECT_EN. */
  direct(ip: KernelOffset): VirtualAddress | undefined;
  /** Index of the record, or -1. */
  indexOf(ip: KernelOffset): number;
}

const MAX_PAGES = 1 << 16;
const MAX_RECORDS = 1 << 22;
const MAX_OPS = 4096;

/** What ftrace keeps its records in: all of these have been there since 2.6.3x. */
const NEEDED = [
  ["struct ftrace_page", "next"],
  ["struct ftrace_page", "records"],
  ["struct ftrace_page", "index"],
  ["struct dyn_ftrace", "ip"],
  ["struct dyn_ftrace", "flags"],
] as const;

/** The records, read once a kernel; undefined for a kernel without dynamic ftrace. */
export function ftraceRecords(kernel: Kernel, problems: string[]): FtraceRecords | undefined {
  return kernel.find("ftrace_pages_start") === undefined ? undefined : kept(kernel, read, problems);
}

const PAGE = "struct ftrace_page";
const REC = "struct dyn_ftrace";

function read(kernel: Kernel, problems: string[]): FtraceRecords {
  const { structures: s, memory } = kernel;
  const ips: number[] = [];
  const flags: number[] = [];
  let complete = true;
  let unknown: string | undefined;
  const first = memory.tryRead(kernel.address("ftrace_pages_start"), 8);
  // Without a page ftrace_init() has not run yet: that is no gap in what is known.
  if (first === undefined || first.some((byte) => byte !== 0)) {
    const missing = NEEDED.find(([type, path]) => !s.has(type, path));
    if (missing !== undefined) unknown = `the layout of ${missing.join(".")} in ${s.types.origin}`;
    complete = missing === undefined && readPages(kernel, ips, flags, problems);
  }
  const order = sortedOrder(ips);
  const sortedIps = Uint32Array.from(order, (i) => ips[i]);
  // Trampolines of their own came later than ftrace_regs_caller: either shows that the kernel is no older.
  const recent = kernel.find("ftrace_regs_caller") !== undefined || s.has("struct ftrace_ops", "trampoline");
  const layout = flagLayout(flags, recent);
  const sortedFlags = Uint32Array.from(order, (i) => normalFlags(flags[i], layout));
  const hashes = new FtraceHashes(kernel, problems);
  const { ops, leaving, missing } = readOps(kernel, hashes, problems);
  return {
    complete,
    unknown,
    unknownOps: () => missing ?? hashes.unknown,
    ips: sortedIps,
    flags: sortedFlags,
    ops,
    leaving,
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

/** Reads the list of pages as far as it goes; true when that is to its end. */
function readPages(kernel: Kernel, ips: number[], flags: number[], problems: string[]): boolean {
  const { structures: s, memory } = kernel;
  try {
    const size = s.size(REC);
    const ipAt = s.offset(REC, "ip");
    const flagsAt = s.offset(REC, "flags");
    const recordsMember = s.find(PAGE, "records");
    const inline = recordsMember !== undefined && !recordsMember.typeName.includes("*"); // records[] before 3.4
    const seen = new Set<bigint>();
    let damaged = 0;
    let page = memory.pointer(kernel.address("ftrace_pages_start"));
    while (page !== 0n) {
      if (seen.has(page) || seen.size >= MAX_PAGES) {
        problems.push(`the list of ftrace pages ${seen.has(page) ? "has a cycle" : "is too long"}: cut`);
        return false;
      }
      seen.add(page);
      const count = s.number(page, PAGE, "index");
      if (count * size > 1 << 24 || ips.length + count > MAX_RECORDS) {
        problems.push(`an ftrace page claims ${count} records: cut`);
        return false;
      }
      const start = inline ? addressAdd(page, recordsMember?.offset ?? 0) : s.pointer(page, PAGE, "records");
      const bytes = memory.read(start, count * size);
      for (let i = 0; i < count; i++) {
        const at = i * size;
        const low = getU32(bytes, at + ipAt);
        if (getU32(bytes, at + ipAt + 4) !== 0xffffffff || low < 0x80000000) {
          // Up to 3.3 freed records stay among the others, with FTRACE_FL_FREE (bit 0, later 31); since then all that
          // `index` counts are of sites.
          if (!inline || (getU32(bytes, at + flagsAt) & 0x80000001) === 0) damaged++;
          continue;
        }
        ips.push(low - 0x80000000);
        flags.push(getU32(bytes, at + flagsAt));
      }
      page = s.pointer(page, PAGE, "next");
    }
    if (damaged > 0) problems.push(`ftrace records: ${damaged} of them hold no address of kernel code`);
    return damaged === 0;
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`ftrace records: ${error.message}; ${ips.length} were read`);
    return false;
  }
}

/** Pages hold ascending runs already; sorting 45,000 indices through a comparator would cost more than all the rest. */
function sortedOrder(ips: readonly number[]): Uint32Array {
  const keys = new Float64Array(ips.length);
  for (let i = 0; i < ips.length; i++) keys[i] = ips[i] * 2 ** 22 + i;
  keys.sort();
  return Uint32Array.from(keys, (key) => key % 2 ** 22);
}

function readOps(
  kernel: Kernel,
  hashes: FtraceHashes,
  problems: string[],
): { ops: FtraceOps[]; leaving: FtraceOps[]; missing?: string } {
  const { structures: s, memory } = kernel;
  const OPS = "struct ftrace_ops";
  const head = kernel.find("ftrace_ops_list");
  const end = kernel.find("ftrace_list_end");
  const ops: FtraceOps[] = [];
  if (head === undefined) return { ops, leaving: [] };
  const lost = ["next", "func", "flags", "trampoline"].find((path) => !s.has(OPS, path));
  const missing = lost === undefined ? undefined : `the layout of ${OPS}.${lost} in ${s.types.origin}`;
  // Trampolines came with 3.18; a kernel without them still has the rest.
  if (lost !== undefined && lost !== "trampoline") return { ops, leaving: [], missing };
  const readOne = (address: VirtualAddress): FtraceOps => ({
    address,
    func: s.pointer(address, OPS, "func"),
    trampoline: s.has(OPS, "trampoline") ? s.pointer(address, OPS, "trampoline") : (0n as VirtualAddress),
    trampolineSize: s.has(OPS, "trampoline_size") ? s.number(address, OPS, "trampoline_size") : 0,
    flags: s.number(address, OPS, "flags"),
    traces: hashes.of(address),
    traced: hashes.ofOld(address) ?? (() => false),
  });
  try {
    const seen = new Set<bigint>();
    for (let at = memory.pointer(head); at !== 0n && at !== end; at = s.pointer(at, OPS, "next")) {
      if (seen.has(at) || seen.size >= MAX_OPS) {
        problems.push("the list of ftrace_ops has a cycle or is too long: cut");
        break;
      }
      seen.add(at);
      ops.push(readOne(at));
    }
    // ftrace_shutdown() takes an ops off its list first and sets removed_ops later; its trampoline stays on this list
    // (fc0ea795f53c, 5.9) until it is freed.
    const others: VirtualAddress[] = [];
    const removed = kernel.find("removed_ops");
    if (removed !== undefined) others.push(memory.pointer(removed));
    const trampolines = kernel.find("ftrace_ops_trampoline_list");
    if (trampolines !== undefined && s.has(OPS, "list")) {
      others.push(...walkList(memory, trampolines, s.offset(OPS, "list"), MAX_OPS).entries);
    }
    const leaving = [...new Set(others)].filter((address) => address !== 0n && !seen.has(address));
    return { ops, leaving: leaving.map(readOne), missing };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    if (error instanceof MissingError) return { ops, leaving: [], missing: error.message };
    problems.push(`ftrace_ops: ${error.message}`);
  }
  return { ops, leaving: [], missing };
}

/** Offset of a function pointer variable's value from KERNEL_MAP_BASE; undefined when unreadable or outside. */
export function pointerOffset(kernel: Kernel, symbol: string): KernelOffset | undefined {
  const at = kernel.find(symbol);
  const bytes = at === undefined ? undefined : kernel.memory.tryRead(at, 8);
  return bytes === undefined ? undefined : toKernelOffset(getU64(bytes, 0));
}
