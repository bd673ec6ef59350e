// One line of bytes a case: what an instruction means to the walk.
import { expect, test } from "vitest";
import { type CodeEvent, EVENT, EventScanner } from "./events.ts";

const BASE = 0x1000000;
const NAMES = new Map(Object.entries(EVENT).map(([name, kind]) => [kind, name]));

function scan(hex: string, based = false): { events: readonly CodeEvent[]; ending: string } {
  const bytes = Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16));
  const scanner = new EventScanner(bytes, BASE, BASE, BASE + 0x100, (at) => (at === 0x2000005 ? 3 : undefined), based);
  scanner.instruction(BASE, bytes.length);
  return { events: scanner.events, ending: scanner.ending };
}

const said = (hex: string) =>
  scan(hex, true).events.map(({ kind, register, a, b }) => [NAMES.get(kind), register, a, b]);

test.each([
  ["call", "e8 00 01 00 00", [["call", 0, 0x1000105, 0]]],
  ["call of the next instruction", "e8 00 00 00 00", []],
  ["call of a thunk for rbx", "e8 00 00 00 01", [["callRegister", 3, 0, 0]]],
  ["jmp inside the function", "e9 10 00 00 00", []],
  ["jmp out of it", "e9 00 01 00 00", [["jump", 0, 0x1000105, 0]]],
  ["jmp rel8 out of it", "eb f0", [["jump", 0, 0xfffff2, 0]]],
  ["je out of it", "0f 84 00 01 00 00", [["jump", 0, 0x1000106, 0]]],
  ["call *slot(rip)", "ff 15 00 01 00 00", [["callSlot", 0, 0x1000106, 0]]],
  ["call *slot", "ff 14 25 00 00 00 82", [["callSlot", 0, 0x2000000, 0]]],
  ["call *gs:slot", "65 ff 14 25 00 00 00 82", [["callMemory", 0, -1, 0]]],
  ["call *table(,rax,8)", "ff 14 c5 00 00 00 82", [["callMemory", 0, 0x2000000, 0]]],
  ["call *0x18(rax)", "ff 50 18", [["callMemory", 0, -1, 0]]],
  ["call *r11", "41 ff d3", [["callRegister", 11, 0, 0]]],
  ["jmp *table(,rax,8), a switch", "ff 24 c5 00 00 00 82", []],
  ["movq $f,slot(rip)", "48 c7 05 f5 00 00 00 00 00 00 81", [["storeConstant", 0, 0x1000100, 0x1000000]]],
  ["movq $0,slot(rip)", "48 c7 05 f5 00 00 00 00 00 00 00", [["storeConstant", 0, 0x1000100, -1]]],
  ["movl $1,slot(rip)", "c7 05 f5 00 00 00 01 00 00 00", []],
  ["mov r12,slot(rip)", "4c 89 25 f9 00 00 00", [["storeRegister", 12, 0x1000100, 0]]],
  ["mov slot(rip),rax", "48 8b 05 f9 00 00 00", [["load", 0, 0x1000100, 0]]],
  ["mov gs:slot(rip),rax", "65 48 8b 05 f9 00 00 00", []],
  [
    "movq $f,8(%rbx)",
    "48 c7 43 08 00 00 00 81",
    [
      ["reference", 0, 0x1000000, 0],
      ["storeBased", 3, 8, 0x1000000],
    ],
  ],
  ["mov rax,8(r13)", "49 89 45 08", [["storeBased", 13, 8, -2]]],
  ["mov $f,rdi", "48 c7 c7 00 00 00 81", [["reference", 0, 0x1000000, 0]]],
  ["cmp $f,rdi is no taking of it", "48 81 ff 00 00 00 81", []],
  ["add $table,rax", "48 05 00 00 00 82", [["reference", 0, 0x2000000, 0]]],
  ["lea f(rip),rdi", "48 8d 3d f9 00 00 00", [["reference", 0, 0x1000100, 0]]],
  ["lea -0x28(rbp),rdi", "48 8d 7d d8", []],
  ["movabs $f,rax", "48 b8 00 00 00 81 ff ff ff ff", [["reference", 0, 0x1000000, 0]]],
  ["movabs of another half", "48 b8 00 00 00 81 00 00 00 00", []],
  ["push $f", "68 00 00 00 81", [["reference", 0, 0x1000000, 0]]],
  ["mov table(,rdi,8),rdi", "48 8b 3c fd 00 00 00 82", [["reference", 0, 0x2000000, 0]]],
  ["rep movsq", "f3 48 a5", [["copy", 0, 8, 0]]],
  ["rep movsl", "f3 a5", [["copy", 0, 4, 0]]],
  ["movsq alone", "48 a5", []],
] as const)("%s", (_name, hex, events) => {
  expect(said(hex)).toEqual(events);
});

test.each([
  ["ret", "c3", "stops"],
  ["jmp *rax", "ff e0", "stops"],
  ["ud2", "0f 0b", "stops"],
  ["mov", "89 c8", "goes on"],
])("after %s control %s", (_name, hex, ending) => {
  expect(scan(hex).ending).toBe(ending);
});

test("padding leaves the ending to what came before", () => {
  const bytes = Uint8Array.of(0x89, 0xc8, 0x0f, 0x1f, 0x00, 0x90);
  const scanner = new EventScanner(bytes, BASE, BASE, BASE + 6, () => undefined, false);
  scanner.instruction(BASE, 2);
  scanner.instruction(BASE + 2, 3);
  scanner.instruction(BASE + 5, 1);
  expect(scanner.ending).toBe("goes on");
});
