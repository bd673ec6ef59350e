import { expect, it } from "vitest";
import { physicalAddress } from "../../bytes/brand.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openDump } from "../open.ts";
import { ascii, concat, makeElf, note, prstatusNote, qemuNote, testPages } from "../testing/make-elf.ts";

const PT_LOAD = 1;
const PT_NOTE = 4;
const open = (bytes: Uint8Array) => openDump(new BufferSource("vmcore", bytes));
const load = (bytes: Uint8Array, physical: bigint, rest = {}) => ({ type: PT_LOAD, bytes, physical, ...rest });

function read(dump: ReturnType<typeof open>, address: bigint, length: number) {
  const into = new Uint8Array(length).fill(0xee);
  const absent: [number, number][] = [];
  dump.physical.read(physicalAddress(address), into, (offset, count) => absent.push([offset, count]));
  return { into, absent };
}

it("reads pages and runs of several segments, holes reported", () => {
  const low = testPages(2);
  const high = testPages(1, 9);
  const dump = open(makeElf([load(low, 0n), load(high, 0x4000n)]));
  expect(dump.format).toBe("elf");
  expect(dump.physical.ranges).toEqual([
    { start: 0n, length: 0x2000n },
    { start: 0x4000n, length: 0x1000n },
  ]);
  expect(dump.physical.page(1)).toEqual(low.subarray(4096));
  expect(dump.physical.page(4)).toEqual(high);
  expect(dump.physical.page(2)).toBeUndefined();
  expect(dump.physical.page(2 ** 40)).toBeUndefined();
  const { into, absent } = read(dump, 0x1800n, 0x3800);
  expect(absent).toEqual([[0x800, 0x2000]]);
  expect(into.subarray(0, 0x800)).toEqual(low.subarray(0x1800));
  expect(into.subarray(0x800, 0x2800).every((byte) => byte === 0)).toBe(true);
  expect(into.subarray(0x2800)).toEqual(high);
  expect(dump.problems).toEqual([]);
});

it("joins a page that two adjoining segments share, and leaves out one held in part", () => {
  const bytes = testPages(2);
  const dump = open(makeElf([load(bytes.subarray(0, 0x800), 0n), load(bytes.subarray(0x800, 0x1400), 0x800n)]));
  expect(dump.physical.page(0)).toEqual(bytes.subarray(0, 4096));
  expect(dump.physical.page(1)).toBeUndefined();
  expect(read(dump, 0x1000n, 0x1000).absent).toEqual([[0x400, 0xc00]]);
});

it("takes overlapping segments as one memory (kernel text beside the direct map in /proc/vmcore)", () => {
  const bytes = testPages(4);
  const text = 0xffffffff81000000n;
  const direct = 0xffff888000000000n;
  const dump = open(
    makeElf([
      load(bytes.subarray(0x1000, 0x3000), 0x1000n, { virtual: text }),
      load(bytes, 0n, { virtual: direct }),
      load(bytes.subarray(0x1000, 0x2000), 0x1000n, { virtual: text + 0x10000n }),
    ]),
  );
  expect(dump.format).toBe("elf-paging");
  expect(dump.physical.ranges).toEqual([{ start: 0n, length: 0x4000n }]);
  expect(read(dump, 0n, 0x4000)).toEqual({ into: bytes, absent: [] });
  expect(dump.segments).toEqual([
    { virtual: text, physical: 0x1000n, length: 0x2000n },
    { virtual: direct, physical: 0n, length: 0x4000n },
    { virtual: text + 0x10000n, physical: 0x1000n, length: 0x1000n },
  ]);
});

it("leaves bytes that a segment claims beyond its file size absent, not zero", () => {
  const dump = open(makeElf([load(testPages(1), 0n, { memorySize: 1n << 50n })]));
  expect(dump.physical.page(1)).toBeUndefined();
  expect(dump.physical.ranges).toEqual([{ start: 0n, length: 0x1000n }]);
});

it("reads QEMU's notes, registers and VMCOREINFO", () => {
  const notes = concat([
    prstatusNote(1, 0x11n),
    qemuNote({ rip: 0xffffffff81000010n, cr3: 0x260a000n, cr4: 0x751ef0n }),
    note("VMCOREINFO", 0, ascii("OSRELEASE=6.1.0\nPAGESIZE=4096\n")),
  ]);
  const dump = open(makeElf([{ type: PT_NOTE, bytes: notes }, load(testPages(1), 0n)]));
  expect(dump.vmcoreinfo).toBe("OSRELEASE=6.1.0\nPAGESIZE=4096\n");
  expect(dump.cpus).toHaveLength(1);
  const [cpu] = dump.cpus;
  expect(cpu).toMatchObject({ index: 0, source: "QEMU" });
  expect(cpu.pid).toBeUndefined();
  expect(cpu.registers).toMatchObject({
    rip: 0xffffffff81000010n,
    cs: 0x10,
    gsBase: 0xffff888000000000n,
    kernelGsBase: 0x1234n,
    cr3: 0x260a000n,
    cr4: 0x751ef0n,
  });
  expect(dump.notes.map(({ name }) => name)).toEqual(["CORE", "QEMU", "VMCOREINFO"]);
});

it("reads NT_PRSTATUS where there is nothing better, and keeps counting over a broken one", () => {
  const notes = concat([prstatusNote(7, 0x11n), note("CORE", 1, new Uint8Array(100)), prstatusNote(9, 0x22n)]);
  const dump = open(makeElf([{ type: PT_NOTE, bytes: notes }, load(testPages(1), 0n)]));
  expect(dump.cpus.map(({ index, pid, registers }) => [index, pid, registers.rip])).toEqual([
    [0, 7, 0x11n],
    [2, 9, 0x22n],
  ]);
  expect(dump.problems.join()).toContain("needs 76 bytes, only 64 are there");
});

it("opens a truncated file and tells what is cut", () => {
  const bytes = testPages(4);
  const whole = makeElf([load(bytes.subarray(0, 0x2000), 0n), load(bytes.subarray(0x2000), 0x2000n)]);
  const dump = open(whole.subarray(0, whole.length - 0x1800));
  expect(dump.physical.page(1)).toEqual(bytes.subarray(0x1000, 0x2000));
  expect(dump.physical.page(2)).toBeUndefined();
  expect(read(dump, 0x2000n, 0x2000).absent).toEqual([[0x800, 0x1800]]);
  expect(dump.problems).toEqual([
    "vmcore: the file ends at 0x28b0, 6144 bytes short: 1 of 2 segments are cut, the first at 0x20b0 (8192 bytes)",
  ]);
});

it("opens without the notes when these claim to lie past the end", () => {
  const bytes = makeElf([{ type: PT_NOTE, bytes: prstatusNote(1, 5n) }, load(testPages(1), 0n)]).slice();
  new DataView(bytes.buffer).setUint32(64 + 8 + 4, 0x2000, true);
  const dump = open(bytes);
  expect([dump.cpus.length, dump.incomplete]).toEqual([0, true]);
  expect(dump.physical.page(0)).toEqual(testPages(1));
  expect(dump.problems[0]).toContain("1 of 2 segments are cut, the first at 0x2000000000");
});

it("keeps the notes before one that runs past the end", () => {
  const bad = qemuNote({}).slice();
  new DataView(bad.buffer).setUint32(4, 0xffffff00, true);
  const dump = open(makeElf([{ type: PT_NOTE, bytes: concat([prstatusNote(1, 5n), bad]) }, load(testPages(1), 0n)]));
  expect(dump.cpus.map(({ registers }) => registers.rip)).toEqual([5n]);
  expect(dump.problems).toEqual(["vmcore: notes at 0xb0+0x164: a note runs past the end"]);
});

it.each<[string, Uint8Array, string]>([
  ["an executable", makeElf([load(testPages(1), 0n)], 2), "vmcore: ELF header: an ELF executable, not a memory dump"],
  ["no program headers", makeElf([]), "an ELF core without program headers"],
  ["no memory", makeElf([{ type: PT_NOTE, bytes: prstatusNote(1, 0n) }]), "without any memory"],
  [
    "a process",
    makeElf([{ type: PT_NOTE, bytes: note("CORE", 6, new Uint8Array(16)) }, load(testPages(1), 0n)]),
    "the core of a process",
  ],
  ["a cut header", makeElf([load(testPages(1), 0n)]).subarray(0, 40), "ELF header+0x28: needs 8 bytes, only 0"],
])("refuses %s", (_name, bytes, message) => {
  expect(() => open(bytes)).toThrow(message);
});

it("counts only the program headers that are there", () => {
  const bytes = makeElf([load(testPages(1), 0n)]).slice();
  new DataView(bytes.buffer).setUint16(56, 0xfffe, true);
  expect(open(bytes).problems[0]).toContain("65534 claimed, the file ends after 74");
});

it("leaves out a segment at an impossible physical address", () => {
  const dump = open(makeElf([load(testPages(1), 0xffffffffffffffffn), load(testPages(1), 0n)]));
  expect(dump.problems).toEqual(["vmcore: program headers: 1 segments have no physical address and are left out"]);
});
