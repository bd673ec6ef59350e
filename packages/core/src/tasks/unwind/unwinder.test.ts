// Stacks made by hand over a kernel with ORC tables of four functions: calls, an interrupt on its own stack, the true end,
// and stacks that are damaged. A frame that is not there is never told.
import { expect, test } from "vitest";
import { fakeKernel, long, quad, type Runs } from "../../locks/testing/fake-kernel.ts";
import { TextRanges } from "../stack-scan.ts";
import { OrcTables } from "./orc-tables.ts";
import { ReplacedReturns } from "./returns.ts";
import { Unwinder, type Unwound } from "./unwinder.ts";

const TEXT = 0xffffffff81000000n;
const IPS = 0xffffffff82000000n;
const ORC = 0xffffffff82001000n;
const STACK = 0xffff888000010000n;
const IRQ = 0xffff888000020000n;
const SYMBOLS = {
  _text: TEXT,
  leaf: TEXT + 0x40n,
  caller: TEXT + 0x100n,
  born: TEXT + 0x200n,
  asm_irq: TEXT + 0x300n,
  on_irq_stack: TEXT + 0x400n,
  odd: TEXT + 0x500n,
  _etext: TEXT + 0x600n,
  __start_orc_unwind_ip: IPS,
  __stop_orc_unwind_ip: IPS + 28n,
  __start_orc_unwind: ORC,
  __stop_orc_unwind: ORC + 42n,
};
/** leaf keeps 8 bytes, caller 16 and rbp; born is the end; asm_irq holds pt_regs; on_irq_stack is linked through its top. */
const ENTRIES = [
  "10 00 00 00 05 02",
  "20 00 f0 ff 15 02",
  "00 00 00 00 00 01",
  "00 00 00 00 05 0b",
  "08 00 00 00 09 02",
  "00 00 00 00 00 00",
  "08 00 00 00 05 02",
];
const STARTS = [0x40, 0x100, 0x200, 0x300, 0x400, 0x500, 0x600];
const TABLES: Runs = [
  [IPS, STARTS.map((start, i) => long(Number(TEXT + BigInt(start) - (IPS + BigInt(i * 4))))).join(" ")],
  [ORC, ENTRIES.join(" ")],
  [TEXT, Array.from({ length: 0x600 }, (_, i) => (i % 16 === 11 ? "e8" : "90")).join(" ")],
];
const words = (...values: readonly bigint[]): string => values.map(quad).join(" ");

function unwind(runs: Runs, rip: bigint, rsp: bigint, tables: Runs = TABLES): Unwound {
  const kernel = fakeKernel([...tables, ...runs], SYMBOLS);
  const text = new TextRanges(kernel);
  const orc = new OrcTables(kernel);
  return new Unwinder(kernel, text, orc, new ReplacedReturns(kernel), 16384).unwind({
    rip,
    rsp,
    registers: { rbp: 0n },
    rflags: 0x246n,
    exact: true,
    task: undefined,
    areas: [
      { name: "TASK", start: STACK, end: STACK + 0x4000n },
      { name: "IRQ", start: IRQ, end: IRQ + 0x4000n },
    ],
    limit: 64,
  });
}

const told = ({ levels, end, why }: Unwound): string =>
  `${levels.map(({ frames }) => frames.map(({ symbol, checked }) => `${checked ? "" : "?"}${symbol}`).join(" < ")).join(" | ")} ${end}${why === undefined ? "" : `: ${why}`}`;

/** leaf → caller → born */
const PLAIN = words(0n, TEXT + 0x110n, 0n, 0x1234n, 0n, TEXT + 0x210n);

test("calls to the stack's true end", () => {
  const unwound = unwind([[STACK, PLAIN]], TEXT + 0x50n, STACK);
  expect(told(unwound)).toBe("leaf+0x10 < caller+0x10 < born+0x10 end");
  expect(unwound.levels[0].frames.map(({ how, stack }) => [how, stack])).toEqual([
    ["register", "TASK"],
    ["orc", "TASK"],
    ["orc", "TASK"],
  ]);
});

const REGS = (rip: bigint, rsp: bigint, cs = 0x10n): string =>
  words(...Array.from({ length: 16 }, (_, i) => BigInt(i)), rip, cs, 0x46n, rsp, 0x18n);

test("an interrupt on its own stack, and what it interrupted", () => {
  // on_irq_stack was called by asm_irq, which stands below the registers on the task's stack.
  const unwound = unwind(
    [
      [IRQ, words(STACK)],
      [STACK, `${words(TEXT + 0x310n)} ${REGS(TEXT + 0x60n, STACK + 0x200n)}`],
      [STACK + 0x200n, PLAIN],
    ],
    TEXT + 0x410n,
    IRQ,
  );
  expect(told(unwound)).toBe("on_irq_stack+0x10 < asm_irq+0x10 | leaf+0x20 < caller+0x10 < born+0x10 end");
  expect(unwound.levels[1]).toMatchObject({ rflags: 0x46n, registers: { r15: 0n, rdi: 14n } });
});

test.each<[string, Runs, bigint, bigint, string]>([
  ["user mode", [[STACK, REGS(0x400000n, 0x7ffe0000n, 0x33n)]], TEXT + 0x310n, STACK, "asm_irq+0x10 user"],
  [
    "a page that is missing",
    [[STACK, words(0n)]],
    TEXT + 0x50n,
    STACK,
    "leaf+0x10 stopped: the stack at 0xffff888000010008 is not in the dump",
  ],
  [
    "a return address that follows no call: told, but not as proved",
    [[STACK, words(0n, TEXT + 0x113n)]],
    TEXT + 0x50n,
    STACK,
    "leaf+0x10 < ?caller+0x13 stopped: the stack at 0xffff888000010028 is not in the dump",
  ],
  [
    "a smashed return address",
    [[STACK, words(0n, 0x4141414141414141n)]],
    TEXT + 0x50n,
    STACK,
    "leaf+0x10 stopped: 0x4141414141414141 is no code of the kernel",
  ],
  [
    "a link that leads in a circle",
    [
      [IRQ, words(TEXT + 0x410n)],
      [IRQ + 0x100n, words(IRQ)],
    ],
    TEXT + 0x410n,
    IRQ + 0x100n,
    "on_irq_stack+0x10 stopped: the next frame lies below this one",
  ],
  [
    "code that the tables do not know",
    [[STACK, PLAIN]],
    TEXT + 0x510n,
    STACK,
    "odd+0x10 < ?caller+0x10 < ?born+0x10 stopped: the ORC tables do not know the stack there",
  ],
])("%s: the frames so far, and why it ends", (_name, runs, rip, rsp, expected) => {
  expect(told(unwind(runs, rip, rsp))).toBe(expected);
});

test("tables that are not sorted tell nothing", () => {
  const [, entries, text] = TABLES;
  const broken: Runs = [[IPS, STARTS.map((_, i) => long(i * 0x1000)).join(" ")], entries, text];
  expect(told(unwind([[STACK, PLAIN]], TEXT + 0x50n, STACK, broken))).toContain("stopped: no entry of the ORC tables");
});

test("tables that do not fit together are refused", () => {
  const kernel = fakeKernel(TABLES, { ...SYMBOLS, __stop_orc_unwind: ORC + 36n });
  expect(new OrcTables(kernel)).toMatchObject({
    version: undefined,
    problem: "the ORC tables do not fit together: 7 instructions, 6 entries",
  });
});
