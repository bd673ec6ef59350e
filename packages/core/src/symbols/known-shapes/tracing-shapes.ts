// ftrace's and kprobes' records without a description of them. Their first members are as old as they are; what moved
// behind proves itself: records point into the text, hashes are hashes.
import { type Discovered, isKernelAddress, Peek, type ShapeContext, symbolAddress } from "./peek.ts";
import type { ShapeMember, StructShape } from "./shape-types.ts";

const SAMPLE = 16;
/** Largest filter hash: FTRACE_HASH_MAX_BITS is 12. */
const MAX_BITS = 20n;

export function discoverTracing(context: ShapeContext): Discovered | undefined {
  const peek = new Peek(context.reader);
  const found = [ftracePages(context, peek), ftraceOps(context, peek), kprobes(context)].filter(
    (each) => each !== undefined,
  );
  if (found.length === 0) return undefined;
  return { shapes: found.flatMap((each) => each.shapes), evidence: found.flatMap((each) => each.evidence) };
}

/** struct ftrace_page {next; int index; records[]} before 3.4, {next; records *; int index, size} since. */
function ftracePages({ symbols }: ShapeContext, peek: Peek): Discovered | undefined {
  const variable = symbolAddress(symbols, "ftrace_pages_start");
  const page = variable === undefined ? undefined : peek.u64(variable);
  const head = page === undefined ? undefined : peek.view(page, 24);
  if (page === undefined || head === undefined) return undefined;
  const start = symbolAddress(symbols, "_stext");
  const end = symbolAddress(symbols, "_etext");
  const record: StructShape = {
    name: "struct dyn_ftrace",
    size: 16,
    members: [
      ["ip", 0, "u64"],
      ["flags", 8, "u64"],
    ],
  };
  const inText = (address: bigint) =>
    start !== undefined && end !== undefined ? address >= start && address < end : isKernelAddress(address);
  const holdRecords = (address: bigint, count: number): boolean => {
    const view = count < 1 ? undefined : peek.view(address, Math.min(count, SAMPLE) * 16);
    if (view === undefined) return false;
    for (let at = 0; at < view.byteLength; at += 16) if (!inText(view.getBigUint64(at, true))) return false;
    return true;
  };
  const pointer = head.getBigUint64(8, true);
  const next: ShapeMember = ["next", 0, "struct ftrace_page *"];
  if (isKernelAddress(pointer) && holdRecords(pointer, head.getUint32(16, true))) {
    const members: ShapeMember[] = [next, ["records", 8, "struct dyn_ftrace *"], ["index", 16, "int"]];
    return {
      shapes: [record, { name: "struct ftrace_page", size: 24, members }],
      evidence: ["ftrace_page: a pointer to records whose addresses are in the text"],
    };
  }
  if (!holdRecords(page + 16n, head.getUint32(8, true))) return undefined;
  const members: ShapeMember[] = [next, ["index", 8, "int"], ["records", 16, "struct dyn_ftrace[0]"]];
  return {
    shapes: [record, { name: "struct ftrace_page", size: 16, members }],
    evidence: ["ftrace_page: records whose addresses are in the text, inside the page"],
  };
}

const hash: StructShape = {
  name: "struct ftrace_hash",
  members: [
    ["size_bits", 0, "u64"],
    ["buckets", 8, "void *"],
    ["count", 16, "u64"],
  ],
};
const entry: StructShape = {
  name: "struct ftrace_func_entry",
  members: [
    ["hlist", 0, "void *[2]"],
    ["ip", 16, "u64"],
  ],
};

/** Where behind the hashes stands a pointer to them: func_hash, which starts as &local_hash. */
function ownHashAt(view: DataView, hashes: number, address: bigint): number | undefined {
  for (let at = hashes + 16; at + 8 <= Math.min(view.byteLength, hashes + 128); at += 8) {
    if (view.getBigUint64(at, true) === address) return at;
  }
  return undefined;
}

/** struct ftrace_ops {func; next; flags (3.0); …; notrace_hash, filter_hash (3.0 to 3.17)}. */
function ftraceOps({ symbols }: ShapeContext, peek: Peek): Discovered | undefined {
  const list = symbolAddress(symbols, "ftrace_ops_list");
  const end = symbolAddress(symbols, "ftrace_list_end");
  if (list === undefined || end === undefined) return undefined;
  const members: ShapeMember[] = [
    ["func", 0, "void *"],
    ["next", 8, "struct ftrace_ops *"],
  ];
  const shapes: StructShape[] = [];
  const evidence = ["ftrace_ops: func and next, as ever"];
  const global = symbolAddress(symbols, "global_ops");
  const empty = symbolAddress(symbols, "empty_hash");
  const view = global === undefined ? undefined : peek.upTo(global, 256);
  if (global !== undefined && view !== undefined && empty !== undefined) {
    members.push(["flags", 16, "u64"]);
    for (let at = 24; at <= 64 && at + 16 <= view.byteLength; at += 8) {
      if (!isHash(peek, view.getBigUint64(at, true), empty)) continue;
      if (!isHash(peek, view.getBigUint64(at + 8, true), empty)) continue;
      const pair: ShapeMember[] = [
        ["notrace_hash", at, "struct ftrace_hash *"],
        ["filter_hash", at + 8, "struct ftrace_hash *"],
      ];
      const own = ownHashAt(view, at, global + BigInt(at));
      if (own === undefined) members.push(...pair);
      else {
        // since 3.18: struct ftrace_ops_hash {notrace_hash, filter_hash, …} local_hash, *func_hash, old_hash
        const size = own - at;
        shapes.push({ name: "struct ftrace_ops_hash", size, members: pair.map(([n, o, t]) => [n, o - at, t]) });
        members.push(["local_hash", at, "struct ftrace_ops_hash"], ["func_hash", own, "struct ftrace_ops_hash *"]);
        members.push(["trampoline", own + 8 + size, "u64"], ["trampoline_size", own + 16 + size, "u64"]);
      }
      shapes.push(hash, entry);
      evidence.push(`ftrace_ops: two hashes at +${at} of global_ops`);
      break;
    }
  }
  return { shapes: [...shapes, { name: "struct ftrace_ops", members }], evidence };
}

/** struct ftrace_hash {unsigned long size_bits; struct hlist_head *buckets; unsigned long count; …}, or the empty one. */
function isHash(peek: Peek, address: bigint, empty: bigint): boolean {
  if (address === empty) return true;
  const hash = isKernelAddress(address) ? peek.view(address, 24) : undefined;
  if (hash === undefined) return false;
  const [bits, buckets, count] = [0, 8, 16].map((at) => hash.getBigUint64(at, true));
  return bits <= MAX_BITS && isKernelAddress(buckets) && count <= 1n << 24n && peek.view(buckets, 8) !== undefined;
}

/**
 * struct kprobe while it had break_handler (2.6.27 to 4.14 with jprobes): hlist, list, nmissed, addr, symbol_name,
 * offset, four handlers, opcode, ainsn {insn; boostable}, flags; struct optimized_kprobe since 2.6.34.
 */
function kprobes({ symbols }: ShapeContext): Discovered | undefined {
  if (symbolAddress(symbols, "kprobe_table") === undefined) return undefined;
  if (symbols.lookup("jprobe_return") === undefined && symbols.lookup("register_jprobe") === undefined)
    return undefined;
  const members: ShapeMember[] = [
    ["hlist", 0, "void *[2]"],
    ["list", 16, "struct list_head"],
    ["nmissed", 32, "u64"],
    ["addr", 40, "void *"],
    ["symbol_name", 48, "char *"],
    ["offset", 56, "u32"],
    ["pre_handler", 64, "void *"],
    ["post_handler", 72, "void *"],
    ["fault_handler", 80, "void *"],
    ["break_handler", 88, "void *"],
    ["opcode", 96, "u8"],
    ["ainsn.insn", 104, "void *"],
    ["flags", 120, "u32"],
  ];
  const shapes: StructShape[] = [{ name: "struct kprobe", size: 128, members }];
  if (symbols.lookup("optimizing_list") !== undefined) {
    const optimized: ShapeMember[] = [
      ["kp", 0, "struct kprobe"],
      ["list", 128, "struct list_head"],
      ["optinsn.copied_insn", 144, "u8[4]"],
      ["optinsn.insn", 152, "void *"],
      ["optinsn.size", 160, "u64"],
    ];
    shapes.push({ name: "struct optimized_kprobe", size: 168, members: optimized });
  }
  return { shapes, evidence: ["kprobe: the layout of the kernels that have jprobes"] };
}
