// What code does to a lock word, which implementation that is, and which lock a call works on: bytes of real lock functions
// (Linux 3.0, Debian 6.1) and a few made ones.
import { expect, test } from "vitest";
import { fakeKernel, quad } from "../testing/fake-kernel.ts";
import type { LockRole } from "../types.ts";
import { codeEffects } from "./code-effects.ts";
import { callTarget, Implementations } from "./implementation.ts";
import { argumentRegisters, callOperands } from "./operands.ts";

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text.split(" "), (part) => Number.parseInt(part, 16));
const BASE = 0xffffffff81000000n;
const OFFSET = 0x1000000;

test.each([
  ["lock xadd %ax,(%rdi)", "66 f0 66 0f c1 07", ["xadd 2 0"]],
  ["lock incb (%rdi)", "f0 fe 07", ["inc 1 0"]],
  ["movb $0,(%rdi)", "c6 07 00", ["store 1 0"]],
  ["through a copy: mov %rdi,%rbx; xchg %ax,2(%rbx)", "48 89 fb 66 87 43 02", ["xchg 2 2"]],
  ["not any more: mov %rsi,%rdi; incb (%rdi)", "48 89 f7 fe 07", []],
  ["only read: cmpw $0,2(%rdi)", "66 83 7f 02 00", ["load 2 2"]],
])("effects of %s", (_, text, expected) => {
  const { effects } = codeEffects(bytesOf(text), BASE);
  expect(effects.map((each) => `${each.operation} ${each.width} ${each.offset}`)).toEqual(expected);
});

test("calls that hand the lock on, and one that does not", () => {
  // call +0x100 (at the entry: the tracer's); call +0x100; call +0x100
  const code = `e8 fb 00 00 00 ${"e8 00 01 00 00 ".repeat(2).trim()} c3`;
  const { calls } = codeEffects(bytesOf(code), BASE);
  expect(calls.map((each) => each.handsOn)).toEqual([true, true, false]);
});

// No symbol tells anything: the code has to.
const CODE: readonly (readonly [string, LockRole, string, string])[] = [
  ["ticket lock, u8 halves", "lock", "b8 00 01 00 00 f0 66 0f c1 07 38 c4 74 06 f3 90 8a 07 eb f6 c3", "ticket"],
  ["ticket lock, one CPU", "lock", "b8 00 01 00 00 3e 66 0f c1 07 38 c4 74 06 f3 90 8a 07 eb f6 c3", "ticket"],
  ["ticket lock, u16 halves", "lock", "b8 00 00 01 00 f0 0f c1 07 0f b7 d0 c1 e8 10 c3", "ticket"],
  ["ticket unlock", "unlock", "fe 07 c3", "ticket"],
  ["ticket unlock of 3.12", "unlock", "80 07 02 c3", "ticket"],
  ["byte lock", "lock", "b0 01 86 07 84 c0 74 04 f3 90 eb f6 c3", "byte"],
  ["byte lock of 2.6.27", "lock", "f0 fe 0f 79 02 eb f9 c3", "byte"],
  ["Xen's unlock looks at the spinners", "unlock", "c6 07 00 0f ae f0 66 83 7f 02 00 75 01 c3", "byte"],
  ["paravirt queued unlock", "unlock", "52 b8 01 00 00 00 31 d2 f0 0f b0 17 3c 01 75 02 5a c3", "pv-queued"],
  ["nothing to do with a lock", "unlock", "48 8b 07 c3", "unknown"],
];

test.each(CODE)("by code: %s", (_, role, text, family) => {
  const kernel = fakeKernel([[BASE, text]], { f: BASE, end: BASE + BigInt(bytesOf(text).length) });
  const found = new Implementations(kernel).of(OFFSET, role);
  expect([found.family, found.evidence]).toEqual([family, "code"]);
});

test("movb $0 is native where queued locks are, a byte lock's release elsewhere", () => {
  const code = bytesOf("c6 07 00 0f 1f 40 00");
  const old = new Implementations(fakeKernel([]));
  const queued = new Implementations(fakeKernel([], { native_queued_spin_lock_slowpath: BASE }));
  expect([old.inlined(code, "unlock")?.family, queued.inlined(code, "unlock")?.family]).toEqual(["byte", "queued"]);
  expect(queued.inlined(bytesOf("66 90"), "wait")?.family).toBe("none");
  expect(queued.inlined(bytesOf("31 c0 90"), "unlock")).toBeUndefined();
});

test("through a thunk, a jump and an unpatched call to a function with a name", () => {
  const target = BASE + 0x100n;
  const slot = BASE + 0x200n;
  const kernel = fakeKernel(
    [
      [BASE, `51 52 56 57 e8 f7 00 00 00 5f 5e 5a 59 c3 ${"cc ".repeat(0x32)}`], // push …; call target; pop …
      [BASE + 0x40n, `e9 bb 00 00 00 ${"cc ".repeat(0x3b)}`], // jmp target
      [BASE + 0x80n, `ff 14 25 00 02 00 81 c3 ${"cc ".repeat(0x78)}`], // call *slot
      [slot, quad(target)],
    ],
    { thunk: BASE, jump: BASE + 0x40n, indirect: BASE + 0x80n, __ticket_spin_unlock: target, pv_lock_ops: slot },
  );
  const implementations = new Implementations(kernel);
  for (const at of [0, 0x40, 0x80]) {
    const found = implementations.of(OFFSET + at, "unlock");
    expect([found.family, found.code, found.evidence]).toEqual(["ticket", "__ticket_spin_unlock", "symbol"]);
  }
});

test.each([
  ["xen_spin_unlock", "unlock", "byte", "Xen"],
  ["__raw_callee_save___native_queued_spin_unlock", "unlock", "queued", undefined],
  ["__raw_callee_save___pv_queued_spin_unlock", "unlock", "pv-queued", undefined],
  ["__pv_queued_spin_lock_slowpath", "lock", "pv-queued", undefined],
  ["kvm_wait", "wait", "pv-queued", "KVM"],
  ["hv_qlock_kick", "kick", "pv-queued", "Hyper-V"],
  ["_paravirt_nop", "kick", "none", undefined],
] as const)("by symbol: %s", (name, role, family, hypervisor) => {
  const found = new Implementations(fakeKernel([], { [name]: BASE })).of(OFFSET, role);
  expect([found.family, found.hypervisor, found.evidence]).toEqual([family, hypervisor, "symbol"]);
});

test("call targets of sites, with prefixes before and nothing of the kind", () => {
  expect(callTarget(bytesOf("e8 fb 00 00 00 66 90"), 0x1000)?.target).toBe(0x1100);
  expect(callTarget(bytesOf("2e 2e e8 f9 00 00 00"), 0x1000)?.target).toBe(0x1100);
  expect(callTarget(bytesOf("c6 07 00 0f 1f 40 00"), 0x1000)).toBeUndefined();
  expect(callTarget(bytesOf("e8 fb 00"), 0x1000)).toBeUndefined();
});

test("the lock of a call: a constant moved long before, over a branch; lost where paths differ or a call changes it", () => {
  // mov $BASE+0x500,%r12; test %eax,%eax; je +3; mov %r12,%rdi; mov %r12,%rdi; call; mov %rbx,%rdi; call
  const code = "49 c7 c4 00 05 00 81 85 c0 74 03 4c 89 e7 4c 89 e7 e8 00 01 00 00 48 89 df e8 00 01 00 00 c3";
  expect(callOperands(bytesOf(code), BASE).map((each) => each.rdi)).toEqual([BASE + 0x500n, undefined]);
  // je +7; mov $BASE+0x500,%rdi; call
  const maybe = "74 07 48 c7 c7 00 05 00 81 e8 00 01 00 00 c3";
  expect(callOperands(bytesOf(maybe), BASE)[0].rdi).toBeUndefined();
  // lea 0x100(%rip),%rdi; call; call
  const twice = "48 8d 3d 00 01 00 00 e8 00 01 00 00 e8 00 01 00 00 c3";
  expect(callOperands(bytesOf(twice), BASE).map((each) => each.rdi)).toEqual([BASE + 0x107n, undefined]);
});

test("the first argument: in a register, spilled to the stack and back, offset, gone", () => {
  const at = (text: string, offset: number): string[] => argumentRegisters(bytesOf(text), BASE, BASE + BigInt(offset));
  expect(at("48 89 fb f3 90", 3)).toEqual(["rbx", "rdi"]);
  // mov %rdi,-0x18(%rbp); call; mov -0x18(%rbp),%rdi; pause
  expect(at("48 89 7d e8 e8 00 01 00 00 48 8b 7d e8 f3 90", 13)).toEqual(["rdi"]);
  expect(at("e8 00 01 00 00 f3 90", 5)).toEqual([]);
  // add $4,%rdi; call
  expect(callOperands(bytesOf("48 83 c7 04 e8 00 01 00 00"), BASE)[0].fromArgument).toBe(4);
});
