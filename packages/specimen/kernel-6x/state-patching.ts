// The state behind run-time patching: static keys with their sorted tables, static call keys, ftrace records and
// ops, kprobes. Values are the ones that data.ts and the sites declare; the layouts are 6.1's.
import { ByteWriter } from "../bytes.ts";
import { isInitAddress, type Running, type RunningModule, setSymbol } from "../machine/running.ts";
import { STATIC_CALLS, STATIC_KEYS } from "./data.ts";

interface Entry {
  readonly code: bigint;
  readonly target: bigint;
  readonly key: bigint;
  readonly flags: bigint;
}

function readJumpTable(r: Running, start: bigint, end: bigint): Entry[] {
  const out: Entry[] = [];
  for (let at = start; at < end; at += 16n) {
    const v = new DataView(r.memory.space.read(at, 16).buffer);
    const key = BigInt.asUintN(64, at + 8n + v.getBigInt64(8, true));
    out.push({
      code: at + BigInt(v.getInt32(0, true)),
      target: at + 4n + BigInt(v.getInt32(4, true)),
      key: key & ~3n,
      flags: key & 3n,
    });
  }
  return out;
}

const byKey = (a: Entry, b: Entry) => (a.key === b.key ? (a.code < b.code ? -1 : 1) : a.key < b.key ? -1 : 1);

/** Writes the entries sorted and tells where each key's begin. Bit 1 of the key now means "in init text". */
function writeJumpTable(r: Running, start: bigint, entries: readonly Entry[]): Map<bigint, bigint> {
  const first = new Map<bigint, bigint>();
  [...entries].sort(byKey).forEach((e, i) => {
    const at = start + BigInt(16 * i);
    if (!first.has(e.key)) first.set(e.key, at);
    const init = isInitAddress(r.core, e.code) ? 2n : 0n;
    const w = new ByteWriter().u32(Number(e.code - at)).u32(Number(e.target - at - 4n));
    r.memory.write(at, w.u64((e.key | (e.flags & 1n) | init) - at - 8n).take());
  });
  return first;
}

/** jump_label_init() and jump_label_add_module(). */
export function staticKeys(r: Running): void {
  const KEY = "struct static_key";
  const MOD = "struct static_key_mod";
  const start = r.at("__start___jump_table");
  const own = writeJumpTable(r, start, readJumpTable(r, start, r.at("__stop___jump_table")));
  for (const [name, [initial, now]] of Object.entries(STATIC_KEYS)) {
    const entries = own.get(r.at(name)) ?? 0n;
    setSymbol(r, name, KEY, { "enabled.counter": now, entries: entries | BigInt(initial) });
  }
  for (const m of r.modules) {
    const table = m.loaded.section("__jump_table");
    if (table === undefined) continue;
    const end = table + BigInt(m.unit.section("__jump_table").bytes.length);
    for (const [key, entries] of writeJumpTable(r, table, readJumpTable(r, table, end))) {
      const type = key + BigInt(r.types.offset(KEY, "entries"));
      const old = r.memory.read64(type);
      if (m.loaded.address("vellum_key") === key) {
        r.memory.set(key, KEY, { "enabled.counter": 1, entries });
        continue;
      }
      const node = (next: bigint, list: bigint, mod: bigint) => {
        const at = r.memory.kmalloc(r.types.sizeOf(MOD));
        r.memory.set(at, MOD, { next, entries: list, mod });
        return at;
      };
      const others = old & 2n ? old & ~3n : node(0n, old & ~3n, 0n);
      r.memory.u64(type, node(others, entries, m.descriptor) | (old & 1n) | 2n);
    }
  }
  r.memory.u32(r.at("static_key_initialized"), 1);
}

/** static_call_init() and static_call_add_module(): sites sorted by key; module sites made to name the key. */
export function staticCalls(r: Running): void {
  const KEY = "struct static_call_key";
  const MOD = "struct static_call_mod";
  const keyOf = new Map(Object.keys(STATIC_CALLS).map((n) => [r.at(`__SCT__${n}`), r.at(`__SCK__${n}`)]));
  const sort = (start: bigint, end: bigint): Map<bigint, bigint> => {
    const sites: { code: bigint; key: bigint; flags: bigint }[] = [];
    for (let at = start; at < end; at += 8n) {
      const v = new DataView(r.memory.space.read(at, 8).buffer);
      const target = at + 4n + BigInt(v.getInt32(4, true));
      const named = target & ~3n;
      const code = at + BigInt(v.getInt32(0, true));
      const init = isInitAddress(r.core, code) ? 2n : 0n;
      sites.push({ code, key: keyOf.get(named) ?? named, flags: (target & 1n) | init });
    }
    sites.sort((a, b) => (a.key === b.key ? (a.code < b.code ? -1 : 1) : a.key < b.key ? -1 : 1));
    const first = new Map<bigint, bigint>();
    sites.forEach((s, i) => {
      const at = start + BigInt(8 * i);
      if (!first.has(s.key)) first.set(s.key, at);
      const w = new ByteWriter().u32(Number(s.code - at)).u32(Number((s.key | s.flags) - at - 4n));
      r.memory.write(at, w.take());
    });
    return first;
  };
  const own = sort(r.at("__start_static_call_sites"), r.at("__stop_static_call_sites"));
  for (const [name, [, now]] of Object.entries(STATIC_CALLS)) {
    const sites = own.get(r.at(`__SCK__${name}`));
    setSymbol(r, `__SCK__${name}`, KEY, { func: now === null ? 0n : r.at(now), sites: sites ? sites | 1n : 0n });
  }
  for (const m of r.modules) {
    const table = m.loaded.section(".static_call_sites");
    if (table === undefined) continue;
    for (const [key, sites] of sort(table, table + BigInt(m.unit.section(".static_call_sites").bytes.length))) {
      const field = key + BigInt(r.types.offset(KEY, "mods"));
      const old = r.memory.read64(field);
      const node = (next: bigint, mod: bigint, list: bigint) => {
        const at = r.memory.kmalloc(r.types.sizeOf(MOD));
        r.memory.set(at, MOD, { next, mod, sites: list });
        return at;
      };
      const others = old & 1n ? node(0n, 0n, old & ~1n) : old;
      r.memory.u64(field, node(others, m.descriptor, sites));
    }
  }
  r.memory.u64(r.at("static_call_initialized"), 1n);
}

/** One ftrace_page for the core and one for each module, records in address order, init text left out. */
function ftraceRecords(r: Running): void {
  const PAGE = "struct ftrace_page";
  const RECORD = r.types.sizeOf("struct dyn_ftrace");
  let link = r.at("ftrace_pages_start");
  const groups: { records: { ip: bigint; flags: bigint }[] }[] = [
    { records: r.unit.traced.map((t) => ({ ip: r.core.address(t.place), flags: t.flags })) },
    ...r.modules.map((m: RunningModule) => ({
      records: m.unit.traced
        .map((t) => ({ ip: m.loaded.address(t.place), flags: t.flags }))
        .filter((t) => t.ip < m.loaded.initBase || t.ip >= m.loaded.initBase + 0x1000n),
    })),
  ];
  for (const { records } of groups) {
    const live = records.filter((t) => !isInitAddress(r.core, t.ip)).sort((a, b) => (a.ip < b.ip ? -1 : 1));
    const page = r.memory.kmalloc(r.types.sizeOf(PAGE));
    const list = r.memory.pages(Math.ceil((live.length * RECORD) / 4096));
    live.forEach((t, i) => {
      r.memory.set(list + BigInt(i * RECORD), "struct dyn_ftrace", { ip: t.ip, flags: t.flags });
    });
    r.memory.set(page, PAGE, { records: list, index: live.length });
    r.memory.u64(link, page);
    link = page;
    r.memory.u64(r.at("ftrace_pages"), page);
  }
}

/**
 * A trampoline as create_trampoline() makes it: ftrace_caller up to its end, a return, the ops pointer; the load of
 * the pointer and the call inside are adjusted to it.
 */
function ftraceTrampoline(r: Running, ops: string, func: string): { address: bigint; size: number } {
  const start = r.at("ftrace_caller");
  const length = Number(r.at("ftrace_caller_end") - start);
  const code = r.memory.space.read(start, length);
  const address = r.at("ftrace_ops_trampoline");
  const view = new DataView(code.buffer);
  const pointer = length + 5;
  const load = Number(r.at("ftrace_caller_op_ptr") - start);
  view.setInt32(load + 3, pointer - (load + 7), true);
  const call = Number(r.at("ftrace_call") - start);
  view.setInt32(call + 1, Number(r.at(func) - (address + BigInt(call + 5))), true);
  const w = new ByteWriter().bytes(code).bytes([0xc3, 0xcc, 0, 0, 0]).u64(r.at(ops));
  r.memory.write(address, w.take());
  return { address, size: w.length };
}

/** Two tracers: one with a trampoline of its own, one without. */
export function ftrace(r: Running): void {
  const OPS = "struct ftrace_ops";
  ftraceRecords(r);
  const trampoline = ftraceTrampoline(r, "function_tracer_ops", "function_trace_call");
  const ENABLED = 1;
  setSymbol(r, "ftrace_list_end", OPS, { func: r.at("ftrace_stub"), flags: 0x20 });
  setSymbol(r, "function_tracer_ops", OPS, {
    func: r.at("function_trace_call"),
    saved_func: r.at("function_trace_call"),
    next: r.at("probe_tracer_ops"),
    flags: ENABLED,
    trampoline: trampoline.address,
    trampoline_size: trampoline.size,
  });
  setSymbol(r, "probe_tracer_ops", OPS, {
    func: r.at("probe_trace_call"),
    saved_func: r.at("probe_trace_call"),
    next: r.at("ftrace_list_end"),
    flags: ENABLED,
  });
  r.memory.u64(r.at("ftrace_ops_list"), r.at("function_tracer_ops"));
  r.memory.u64(r.at("ftrace_trace_function"), r.at("arch_ftrace_ops_list_func"));
}

/** hash_64(value, 6) of include/linux/hash.h. */
function kprobeHash(address: bigint): number {
  return Number(BigInt.asUintN(64, address * 0x61c8864680b583ebn) >> 58n);
}

/** The kprobe table, and one page of instruction slots with each probed instruction's copy. */
export function kprobes(r: Running, page: bigint): void {
  const CACHE = "struct kprobe_insn_cache";
  const PAGE = "struct kprobe_insn_page";
  const probes = r.unit.probed;
  const cache = r.at("kprobe_insn_slots");
  const lists = (name: string) => r.at(name) + BigInt(r.types.offset(CACHE, "pages"));
  const kip = r.memory.kmalloc(r.types.sizeOf(PAGE) + 256);
  r.memory.write(page, new Uint8Array(4096).fill(0xcc));
  setSymbol(r, "kprobe_insn_slots", CACHE, { insn_size: 15, sym: r.at("kprobe_page_name") });
  r.memory.ring([lists("kprobe_insn_slots"), kip]);
  setSymbol(r, "kprobe_optinsn_slots", CACHE, { insn_size: 124 });
  r.memory.ring([lists("kprobe_optinsn_slots")]);
  r.memory.set(kip, PAGE, { insns: page, cache, nused: probes.length });
  probes.forEach((p, i) => {
    const address = r.core.address(p.place);
    const kp = r.memory.kmalloc(r.types.sizeOf("struct kprobe"));
    const slot = page + BigInt(15 * i);
    const after = address + BigInt(p.original.length);
    const back = new ByteWriter().u8(0xe9).u32(Number(after - (slot + BigInt(p.original.length + 5))));
    r.memory.write(slot, p.original);
    r.memory.write(slot + BigInt(p.original.length), back.take());
    r.memory.u8(kip + BigInt(r.types.offset(PAGE, "slot_used") + i), 1);
    r.memory.set(kp, "struct kprobe", {
      addr: address,
      opcode: p.original[0],
      "ainsn.insn": slot,
      "ainsn.size": p.original.length,
      "ainsn.tp_len": p.original.length + 5,
      pre_handler: r.at("probe_trace_call"),
    });
    const list = kp + BigInt(r.types.offset("struct kprobe", "list"));
    r.memory.ring([list]);
    const head = r.at("kprobe_table") + BigInt(8 * kprobeHash(address));
    r.memory.u64(head, kp);
    r.memory.u64(kp + 8n, head);
  });
}
