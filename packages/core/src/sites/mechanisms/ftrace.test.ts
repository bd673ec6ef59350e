import { describe, expect, it } from "vitest";
import type { KernelModule } from "../../kernel/modules/modules.ts";
import { inFlightPokes } from "../base/in-flight.ts";
import { type FakeOps, FTRACE_SYMBOLS, FTRACE_TYPES, opsAt, putFtrace, putOps } from "../testing/fake-ftrace.ts";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { applyFtrace } from "./ftrace.ts";

const TEXT = 0x1000000;
const CALLER = TEXT + 0x100;
const REGS = TEXT + 0x180;
const TRACER = TEXT + 0x800;
const TRAMPOLINE = TEXT + 0x100000;
const BUILT = "e8 00 00 10 00";
const NOP = "0f 1f 44 00 00";
const call = (from: number, to: number, opcode = 0xe8): string => {
  const out = new Uint8Array(5);
  out[0] = opcode;
  new DataView(out.buffer).setInt32(1, to - from - 5, true);
  return toHex(out);
};

interface World {
  flags?: number;
  ops?: readonly FakeOps[];
  module?: KernelModule["state"];
  /** no record for the site */
  noRecord?: boolean;
  /** what the table's entry adds to the call's address */
  skew?: number;
}

function world({ flags = 0, ops = [], module, noRecord, skew = 0 }: World): FakeContext {
  const kernel = fakeKernel({
    types: FTRACE_TYPES,
    symbols: {
      ...FTRACE_SYMBOLS,
      ftrace_caller: CALLER,
      ftrace_call: CALLER + 0x20,
      ftrace_regs_caller: REGS,
      function_trace_call: TRACER,
      ftrace_stub: TEXT + 0x900,
    },
    modules: module === undefined ? [] : [{ name: "loop", state: module } as KernelModule],
  });
  putFtrace(kernel, noRecord ? [] : [[TEXT, flags]], ops);
  kernel.memory.put64(at(FTRACE_SYMBOLS.ftrace_trace_function), at(TEXT + 0x900));
  const text = new Uint8Array(0x400);
  text.set(hex(BUILT), 0);
  text.set(hex(call(CALLER + 0x20, TEXT + 0x900)), 0x120);
  const table = new Uint8Array(16);
  new DataView(table.buffer).setBigUint64(0, at(TEXT + skew), true); // and one zero entry: a weak function
  return fakeContext(
    kernel,
    fakeObject(
      [
        { name: ".text", start: TEXT, bytes: text, text: true },
        { name: "__mcount_loc", start: 0x1800000, bytes: table },
      ],
      module === undefined ? "vmlinux" : "loop",
    ),
  );
}

const traced = [{ func: TRACER, trampoline: TRAMPOLINE }];
const cases: readonly (readonly [what: string, state: World, intended: string])[] = [
  ["not traced", {}, NOP],
  ["referenced, not yet enabled", { flags: 0x10000001 }, NOP],
  ["disabled at boot", { flags: 0x02000000 }, NOP],
  ["enabled", { flags: 0x80000001 }, call(TEXT, CALLER)],
  ["enabled with registers", { flags: 0xe0000001 }, call(TEXT, REGS)],
  ["enabled with a trampoline of its own", { flags: 0x98000001, ops: traced }, call(TEXT, TRAMPOLINE)],
  ["direct", { flags: 0x81800001, ops: [{ func: TRACER, direct: TRAMPOLINE }] }, call(TEXT, TRAMPOLINE)],
  [
    "direct, by a jump (7.x)",
    { flags: 0x81800001, ops: [{ func: TRACER, direct: TRAMPOLINE + 1 }] },
    call(TEXT, TRAMPOLINE, 0xe9),
  ],
  ["an entry that leads behind the opcode (2.6.39)", { skew: 1 }, NOP],
  ["no record in the core: never touched", { noRecord: true }, BUILT],
  ["no record in a module that goes", { noRecord: true, module: "going" }, NOP],
  ["no record in a module that stays", { noRecord: true, module: "live" }, BUILT],
];

describe("ftrace", () => {
  it.each(cases)("%s", (_what, state, intended) => {
    const context = world(state);
    const list = applyFtrace(context);
    expect(context.intended(TEXT, 5)).toBe(intended);
    expect(list?.offsets[0]).toBe(TEXT);
    expect(context.problems).toEqual([]);
  });

  it("follows the trampoline of an ops that is just being unregistered", () => {
    const context = world({ flags: 0x98000001 });
    putOps(context.kernel, 3, { func: TRACER, trampoline: TRAMPOLINE });
    context.kernel.memory.put64(at(FTRACE_SYMBOLS.removed_ops), at(opsAt(3)));
    applyFtrace(context);
    expect(context.intended(TEXT, 5)).toBe(call(TEXT, TRAMPOLINE));
  });

  it("leads the label to the tracer in use", () => {
    const context = world({});
    context.kernel.memory.put64(at(FTRACE_SYMBOLS.ftrace_trace_function), at(TRACER));
    applyFtrace(context);
    expect(context.intended(CALLER + 0x20, 5)).toBe(call(CALLER + 0x20, TRACER));
  });

  it("takes the label as it is while ftrace is switched off, when it leads to a function", () => {
    const off = (held: string): string => {
      const context = world({});
      context.kernel.memory.put32(at(FTRACE_SYMBOLS.ftrace_enabled), 0).put(at(CALLER + 0x20), hex(held));
      applyFtrace(context);
      return context.intended(CALLER + 0x20, 5);
    };
    expect(off(call(CALLER + 0x20, TRACER))).toBe(call(CALLER + 0x20, TRACER));
    expect(off(call(CALLER + 0x20, TRACER + 1))).toBe(call(CALLER + 0x20, TEXT + 0x900));
  });

  it("takes other trampolines for in flight while ftrace_lock is held, and no other function", () => {
    const held = (bytes: string, lock: boolean): number => {
      const context = world({ flags: 0x98000001, ops: traced });
      context.kernel.memory.put(at(TEXT), hex(bytes)).put64(at(FTRACE_SYMBOLS.ftrace_lock), lock ? 0x1000n : 0n);
      const list = applyFtrace(context);
      return inFlightPokes(context, list === undefined ? [] : [list]).length;
    };
    expect(held(call(TEXT, CALLER), true)).toBe(1);
    expect(held(call(TEXT, CALLER), false)).toBe(0);
    expect(held(call(TEXT, TEXT + 0x900), true)).toBe(0);
    expect(held(NOP, true)).toBe(0);
  });

  it("names the record and the tracer", () => {
    const context = world({ flags: 0x80000001 });
    const details = applyFtrace(context)?.describe(0);
    expect(details?.slot).toEqual({ name: "ftrace record", value: "flags 0x80000001" });
    expect(details?.reason).toBe("traced: calls ftrace_caller");
    expect(details?.forms.map((form) => toHex(form.bytes))).toEqual([NOP, BUILT]);
  });
});
