import { expect, test } from "vitest";
import { toHex } from "../bytes.ts";
import { encode } from "./encode.ts";

test.each([
  ["mov rbp, rsp", "48 89 e5"],
  ["push rbp", "55"],
  ["pop r12", "41 5c"],
  ["mov edx, 1", "ba 01 00 00 00"],
  ["mov rcx, 0x18", "48 c7 c1 18 00 00 00"],
  ["mov rax, 0x1122334455667788", "48 b8 88 77 66 55 44 33 22 11"],
  ["lock cmpxchg [rdi], edx", "f0 0f b1 17"],
  ["lock xadd [rdi], ax", "f0 66 0f c1 07"],
  ["mov byte [rdi], 0", "c6 07 00"],
  ["movzx eax, byte [rdi]", "0f b6 07"],
  ["lea rbp, [rbx+rax*8+16]", "48 8d 6c c3 10"],
  ["mov rax, cr3", "0f 20 d8"],
  ["mov qword [rsp+0x78], 0", "48 c7 44 24 78 00 00 00 00"],
  ["jne short x", "75 fe"],
  ["jmp rax", "ff e0"],
  ["rep stosq", "f3 48 ab"],
  ["inc byte [rdi]", "fe 07"],
])("encodes %s", (line, bytes) => {
  expect(toHex(encode(line).bytes).startsWith(bytes.slice(0, -2))).toBe(true);
  expect(encode(line).bytes.length).toBe(bytes.split(" ").length);
});

test.each([
  ["call foo", "e8 00 00 00 00", { offset: 1, kind: "plt32", symbol: "foo", addend: -4 }],
  ["jne foo", "0f 85 00 00 00 00", { offset: 2, kind: "plt32", symbol: "foo", addend: -4 }],
  ["call [rip+pv_ops+16]", "ff 15 00 00 00 00", { offset: 2, kind: "pc32", symbol: "pv_ops", addend: 12 }],
  [
    "call [abs pv_lock_ops+40]",
    "ff 14 25 00 00 00 00",
    { offset: 3, kind: "abs32s", symbol: "pv_lock_ops", addend: 40 },
  ],
  ["mov rdi, $lock+8", "48 c7 c7 00 00 00 00", { offset: 3, kind: "abs32s", symbol: "lock", addend: 8 }],
  ["inc dword gs:[rip+count]", "65 ff 05 00 00 00 00", { offset: 3, kind: "pc32", symbol: "count", addend: -4 }],
  [
    "mov qword [rip+key], 5",
    "48 c7 05 00 00 00 00 05 00 00 00",
    { offset: 3, kind: "pc32", symbol: "key", addend: -8 },
  ],
] as const)("leaves a field to the linker in %s", (line, bytes, fixup) => {
  const encoded = encode(line);
  expect(toHex(encoded.bytes)).toBe(bytes);
  expect(encoded.fixups).toEqual([fixup]);
});

test("refuses what it does not know", () => {
  expect(() => encode("frobnicate rax")).toThrow('no instruction form for "frobnicate rax"');
});
