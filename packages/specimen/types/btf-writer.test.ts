import { expect, test } from "vitest";
import { writeBtf } from "./btf-writer.ts";
import { CTypes } from "./c-types.ts";

const TEXT = `
  struct list_head { struct list_head *next; struct list_head *prev; };
  typedef unsigned int u32;
  struct thing { u32 a; struct list_head list; char name[56]; unsigned f:4; unsigned g:2;
    union { void *p; unsigned long q; }; void (*call)(int a, void (*b)(void)); struct missing *other; } @align(64);
  enum state { LIVE, GONE = 7, LATER };
  struct tight { u8x b; int c; } @packed;
`;

test("lays structures out by the ABI's rules", () => {
  const t = new CTypes(TEXT.replace("u8x", "unsigned char"));
  expect(t.offset("struct thing", "list.prev")).toBe(16);
  expect(t.offset("struct thing", "name[3]")).toBe(27);
  expect(t.offset("struct thing", "q")).toBe(88);
  expect(t.sizeOf("struct thing")).toBe(128);
  expect(t.sizeOf("struct tight")).toBe(5);
  expect(t.enums.get("state")?.values).toEqual([
    ["LIVE", 0],
    ["GONE", 7],
    ["LATER", 8],
  ]);
});

test("writes a section whose header and strings agree", () => {
  const bytes = writeBtf(new CTypes(TEXT.replace("u8x", "unsigned char")));
  const v = new DataView(bytes.buffer);
  expect(v.getUint16(0, true)).toBe(0xeb9f);
  expect(24 + v.getUint32(12, true) + v.getUint32(20, true)).toBe(bytes.length);
});
