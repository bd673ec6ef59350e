// One line a case: instruction bytes, what the registers and flags were, what they become. The whole table was also
// compared with a processor over 180,000 random cases while it was written.
import { expect, test } from "vitest";
import type { RegisterName } from "../../x86/register-names.ts";
import { bytesOf } from "../testing/code.ts";
import { decodeOperation, disassemble } from "./decode.ts";
import type { Bus } from "./operation.ts";
import { AF, CF, CpuRegisterFile, DF, IF, OF, PF, registerNumber, SF, ZF } from "./registers.ts";

type Values = Partial<Record<RegisterName, bigint>>;

/** Runs one instruction; memory is 64 bytes at address 0x100, all 0x11 unless stored to. */
function run(hex: string, before: Values, flags = 0) {
  const cpu = new CpuRegisterFile(0x40n);
  for (const [name, value] of Object.entries(before)) cpu.general[registerNumber(name as RegisterName)] = value;
  cpu.flags = flags;
  const memory = new Map<bigint, bigint>();
  const bus: Bus = {
    load: (address, size) => {
      let value = 0n;
      for (let i = 0n; i < BigInt(size); i++) value |= (memory.get(address + i) ?? 0x11n) << (i * 8n);
      return value;
    },
    store: (address, size, value) => {
      for (let i = 0n; i < BigInt(size); i++) memory.set(address + i, (value >> (i * 8n)) & 0xffn);
    },
  };
  const operation = decodeOperation(bytesOf(hex), 0x1000n);
  cpu.rip = operation.next;
  operation.run(cpu, bus);
  return { cpu, bus, operation };
}

const M = 0xffff_ffff_ffff_ffffn;
const CASES: readonly [string, string, Values, Values, number?, number?][] = [
  ["88 c4", "mov %al,%ah", { rax: 0x1122334455667788n }, { rax: 0x1122334455668888n }],
  ["89 d8", "mov %ebx,%eax", { rax: M, rbx: 5n }, { rax: 5n }],
  ["66 89 d8", "mov %bx,%ax", { rax: M, rbx: 5n }, { rax: 0xffffffffffff0005n }],
  ["48 c7 c0 ff ff ff ff", "mov $0xffffffffffffffff,%rax", {}, { rax: M }],
  ["48 b8 88 77 66 55 44 33 22 11", "movabs $0x1122334455667788,%rax", {}, { rax: 0x1122334455667788n }],
  ["0f b6 c4", "movzbl %ah,%eax", { rax: 0xffffffff0000ab00n }, { rax: 0xabn }],
  ["0f be c3", "movsbl %bl,%eax", { rbx: 0x80n }, { rax: 0xffffff80n }],
  ["48 63 c3", "movslq %ebx,%rax", { rbx: 0x80000000n }, { rax: 0xffffffff80000000n }],
  ["48 8d 44 8b 08", "lea 8(%rbx,%rcx,4),%rax", { rbx: 0x10n, rcx: M }, { rax: 0x14n }],
  ["48 01 d8", "add %rbx,%rax", { rax: M, rbx: 1n }, { rax: 0n }, 0, CF | ZF | PF | AF],
  ["04 7f", "add $0x7f,%al", { rax: 1n }, { rax: 0x80n }, 0, SF | OF | AF],
  ["83 d0 00", "adc $0,%eax", { rax: 0xffffffffn }, { rax: 0n }, CF, CF | ZF | PF | AF],
  ["48 83 e8 01", "sub $1,%rax", { rax: 0n }, { rax: M }, 0, CF | SF | PF | AF],
  ["18 d8", "sbb %bl,%al", { rax: 0n, rbx: 0n }, { rax: 0xffn }, CF, CF | SF | PF | AF],
  ["ff c8", "dec %eax", { rax: 0n }, { rax: 0xffffffffn }, CF, CF | SF | PF | AF],
  ["fe c0", "inc %al", { rax: 0x1ffn }, { rax: 0x100n }, CF, CF | ZF | PF | AF],
  ["f7 d8", "neg %eax", { rax: 1n }, { rax: 0xffffffffn }, 0, CF | SF | PF | AF],
  ["48 f7 d0", "not %rax", { rax: 0n }, { rax: M }, ZF, ZF],
  ["38 c4", "cmp %al,%ah", { rax: 0x0203n }, { rax: 0x0203n }, 0, CF | SF | PF | AF],
  ["31 c0", "xor %eax,%eax", { rax: M }, { rax: 0n }, CF, ZF | PF],
  ["c1 e0 10", "shl $0x10,%eax", { rax: 0x18000n }, { rax: 0x80000000n }, 0, CF | SF | PF],
  ["d3 e8", "shr %cl,%eax", { rax: 2n, rcx: 0x20n }, { rax: 2n }, CF | ZF, CF | ZF],
  ["48 d1 f8", "sar $1,%rax", { rax: M }, { rax: M }, 0, CF | SF | PF],
  ["66 c1 c0 08", "rol $8,%ax", { rax: 0x1234n }, { rax: 0x3412n }, 0, 0],
  ["48 0f ba e0 3f", "bt $0x3f,%rax", { rax: 1n << 63n }, { rax: 1n << 63n }, 0, CF],
  ["0f ab d8", "bts %ebx,%eax", { rbx: 33n, rax: 0n }, { rax: 2n }],
  ["f3 0f bc c3", "tzcnt %ebx,%eax", { rbx: 0n }, { rax: 32n }, 0, CF],
  ["0f bc c3", "bsf %ebx,%eax", { rbx: 0n, rax: 7n }, { rax: 7n }, 0, ZF],
  ["0f bd c3", "bsr %ebx,%eax", { rbx: 0x4000n }, { rax: 14n }],
  ["f3 48 0f b8 c3", "popcnt %rbx,%rax", { rbx: 0xf0fn }, { rax: 8n }],
  ["0f c8", "bswap %eax", { rax: 0x11223344n }, { rax: 0x44332211n }],
  ["48 0f af c3", "imul %rbx,%rax", { rax: 0x61c8864680b583ebn, rbx: 8n }, { rax: 0xe44323405ac1f58n }],
  ["48 f7 e3", "mul %rbx", { rax: M, rbx: 2n }, { rax: M - 1n, rdx: 1n }, 0, CF | OF | SF],
  ["48 f7 eb", "imul %rbx", { rax: M, rbx: 2n }, { rax: M - 1n, rdx: M }, 0, SF],
  ["f6 e3", "mul %bl", { rax: 0xff10n, rbx: 0x20n }, { rax: 0x200n }, 0, CF | OF | PF],
  ["48 f7 f3", "div %rbx", { rax: 7n, rdx: 1n, rbx: 3n }, { rax: 0x5555555555555557n, rdx: 2n }],
  ["f7 fb", "idiv %ebx", { rax: 0xfffffff9n, rdx: 0xffffffffn, rbx: 2n }, { rax: 0xfffffffdn, rdx: 0xffffffffn }],
  ["f6 f3", "div %bl", { rax: 0x107n, rbx: 0x10n }, { rax: 0x710n }],
  ["0f 44 c3", "cmove %ebx,%eax", { rax: M, rbx: 1n }, { rax: 0xffffffffn }],
  ["0f 92 c0", "setb %al", { rax: 0xff00n }, { rax: 0xff01n }, CF, CF],
  ["98", "cwtl", { rax: 0x8000n }, { rax: 0xffff8000n }],
  ["48 99", "cqto", { rax: 1n << 63n }, { rdx: M }],
  ["87 d8", "xchg %ebx,%eax", { rax: M, rbx: 3n }, { rax: 3n, rbx: 0xffffffffn }],
  ["66 0f c1 d8", "xadd %bx,%ax", { rax: 5n, rbx: 0xffffn }, { rax: 4n, rbx: 5n }, 0, CF | AF],
  ["0f b1 d9", "cmpxchg %ebx,%ecx", { rax: 1n, rcx: 2n, rbx: 9n }, { rax: 2n, rcx: 2n }, 0, CF | SF | PF | AF],
  ["0f b1 d9", "cmpxchg %ebx,%ecx", { rax: 2n, rcx: 2n, rbx: 9n }, { rax: 2n, rcx: 9n }, 0, ZF | PF],
  ["fa", "cli", {}, {}, IF | ZF, ZF],
  ["f5", "cmc", {}, {}, CF | ZF, ZF],
];

test.each(CASES)("%s  %s", (hex, _text, before, after, flagsBefore, flagsAfter) => {
  const { cpu } = run(hex, before, flagsBefore);
  for (const [name, value] of Object.entries(after))
    expect([name, cpu.general[registerNumber(name as RegisterName)].toString(16)]).toEqual([name, value.toString(16)]);
  if (flagsAfter !== undefined) expect(cpu.flags.toString(16)).toBe(flagsAfter.toString(16));
});

test("memory operands: GS base, sizes, lock prefixes", () => {
  const percpu = run("65 8b 04 25 c0 00 00 00", {}); // mov %gs:0xc0,%eax
  expect(percpu.operation.accesses[0].address(percpu.cpu)).toBe(0x100n);
  expect(percpu.cpu.general[0]).toBe(0x11111111n);
  expect(run("66 f0 0f c1 07", { rdi: 0x100n }).operation.accesses[0]).toMatchObject({ kind: "locked", size: 2 });
  expect(run("fe 07", { rdi: 0x100n }).operation.accesses[0]).toMatchObject({ kind: "load-store", size: 1 });
  expect(run("87 07", { rdi: 0x100n }).operation.accesses[0]).toMatchObject({ kind: "locked", size: 4 });
  expect(run("38 07", { rdi: 0x100n }).operation.accesses[0]).toMatchObject({ kind: "load", size: 1 });
  expect(run("c6 07 00", { rdi: 0x100n }).operation.accesses[0]).toMatchObject({ kind: "store", size: 1 });
  const wide = run("f0 48 0f c7 0f", { rdi: 0x100n, rax: 1n }); // lock cmpxchg16b (%rdi)
  expect(wide.operation.accesses[0]).toMatchObject({ kind: "locked", size: 16 });
  expect([wide.cpu.general[0], wide.cpu.general[2]]).toEqual([0x1111111111111111n, 0x1111111111111111n]);
  const string = run("f0 48 0f ab 07", { rdi: 0x100n, rax: 64n }); // lock bts %rax,(%rdi): reaches the next word
  expect(string.bus.load(0x108n, 8)).toBe(0x1111111111111111n);
  expect(run("f0 48 0f ab 07", { rdi: 0x100n, rax: 65n }).bus.load(0x108n, 1)).toBe(0x13n);
  expect(run("48 0f b3 07", { rdi: 0x108n, rax: M }).bus.load(0x107n, 1)).toBe(0x11n); // btr of bit -1: was clear
});

test("the stack: push, pop, call, return thunk, leave, flags", () => {
  expect(run("54", { rsp: 0x110n }).bus.load(0x108n, 8)).toBe(0x110n); // push %rsp pushes the old value
  const call = run("e8 fb 0f 00 00", { rsp: 0x110n });
  expect([call.cpu.rip, call.bus.load(0x108n, 8)]).toEqual([0x2000n, 0x1005n]);
  const ret = run("c2 08 00", { rsp: 0x110n });
  expect([ret.cpu.rip, ret.cpu.general[4]]).toEqual([0x1111111111111111n, 0x120n]);
  expect(run("c9", { rbp: 0x110n }).cpu.general[4]).toBe(0x118n);
  expect(run("9c", { rsp: 0x110n }, IF | ZF).bus.load(0x108n, 8)).toBe(BigInt(IF | ZF | 2));
});

test("string instructions: one element at a time, at their own address until RCX is 0", () => {
  const first = run("f3 48 ab", { rax: 5n, rcx: 2n, rdi: 0x100n }); // rep stos %rax,(%rdi)
  expect([first.cpu.rip, first.cpu.general[1], first.cpu.general[7]]).toEqual([0x1000n, 1n, 0x108n]);
  expect(first.bus.load(0x100n, 8)).toBe(5n);
  expect(first.operation.unordered).toBe(true);
  expect(run("f3 48 ab", { rax: 5n, rcx: 1n, rdi: 0x100n }).cpu.rip).toBe(0x1003n);
  const none = run("f3 48 a5", { rcx: 0n, rsi: 0x100n, rdi: 0x108n }); // rep movsq
  expect([none.cpu.rip, none.cpu.general[7], none.operation.accesses[0].when?.(none.cpu)]).toEqual([
    0x1003n,
    0x108n,
    false,
  ]);
  expect(run("ab", { rax: 7n, rdi: 0x100n }, DF).cpu.general[7]).toBe(0xfcn); // stosl, backwards
  const found = run("f2 ae", { rax: 0x11n, rcx: 9n, rdi: 0x100n }); // repne scas %es:(%rdi),%al
  expect([found.cpu.rip, found.cpu.general[1], found.cpu.flags]).toEqual([0x1002n, 8n, ZF | PF]);
  expect(run("f2 ae", { rax: 0x12n, rcx: 9n, rdi: 0x100n }).cpu.rip).toBe(0x1000n);
  expect(run("48 ad", { rsi: 0x100n }).cpu.general[0]).toBe(0x1111111111111111n); // lodsq
  expect(run("8f 07", { rsp: 0x100n, rdi: 0x110n, rax: 1n }).bus.load(0x110n, 8)).toBe(0x1111111111111111n);
});

test("what the machine does not know is refused with address and text", () => {
  expect(() => decodeOperation(bytesOf("0f a2"), 0xffffffff81000000n)).toThrow(
    "0xffffffff81000000: cpuid: instruction Cpuid is not supported",
  );
  expect(() => decodeOperation(bytesOf("0f 31"), 0x1000n)).toThrow("rdtsc: instruction Rdtsc is not supported");
  expect(() => decodeOperation(bytesOf("f3 48 a7"), 0x1000n)).toThrow("instruction Cmpsq is not supported");
  expect(() => run("f7 f3", { rax: 1n })).toThrow("a division that faults is not supported");
  expect(() => run("f6 f3", { rax: 0x1ffn, rbx: 1n })).toThrow("a division that faults is not supported");
  expect(() => decodeOperation(bytesOf("64 8b 07"), 0x1000n)).toThrow("an FS-relative access is not supported");
  expect(() => decodeOperation(bytesOf("06"), 0x1000n)).toThrow("an undecodable instruction is not supported");
  expect(disassemble(bytesOf("f0 66 0f c1 07"), 0n)).toBe("lock xadd %ax,(%rdi)");
});
