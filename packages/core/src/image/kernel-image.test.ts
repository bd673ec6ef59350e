// Boot images and vmlinux files built here: what is found in them, and what is said about broken ones.
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { BufferSource } from "../bytes/source.ts";
import { openKernelImage } from "./kernel-image.ts";
import { buildBootImage, buildElf, buildIdNote, type ElfSpec, words } from "./testing/build-elf.ts";

const TEXT = 0xffffffff81000000n;
const BANNER = "Linux version 6.1.0-7-test (me@here) (gcc) #1 SMP Test\n";
const weak = BANNER.replace("#1", "#");
const rodata = new TextEncoder().encode(`Linux version %s\0${weak}\0${BANNER}\0`);

/** A kernel with .text at TEXT, .data at TEXT+0x1000 and a zero-based .data..percpu loaded at TEXT+0x2000. */
function kernel(table: readonly number[], more: Partial<ElfSpec> = {}): Uint8Array {
  return buildElf({
    type: 2,
    sections: [
      { name: ".text", flags: 6, address: TEXT, data: new Uint8Array(0x100) },
      { name: ".notes", type: 7, data: buildIdNote([0xde, 0xad, 0xbe, 0xef]) },
      { name: ".rodata", address: TEXT + 0x800n, data: rodata },
      { name: ".data", flags: 3, address: TEXT + 0x1000n, data: new Uint8Array(0x80) },
      { name: ".data..percpu", flags: 3, address: 0n, data: new Uint8Array(0x40) },
      { name: ".bss", type: 8, flags: 3, address: TEXT + 0x3000n, size: 0x1000 },
    ],
    segments: [
      { virtual: TEXT, physical: 0x1000000n, section: 1 },
      { virtual: 0n, physical: 0x1002000n, section: 5 },
    ],
    behind: words(table),
    ...more,
  });
}

const open = (bytes: Uint8Array, name = "vmlinuz") => openKernelImage(new BufferSource(name, bytes));
const plain = (group?: Int32Array) => group && Array.from(group);

describe("openKernelImage", () => {
  it("reads a bare vmlinux", () => {
    const image = open(kernel([]), "vmlinux");
    expect(image.container).toBe("vmlinux");
    expect(image.buildId).toBe("deadbeef");
    expect(image.version).toBe(BANNER.trimEnd());
    expect(image.release).toBe("6.1.0-7-test");
    expect(image.relocations).toBeUndefined();
    expect(image.elf.section(".data")?.address).toBe(TEXT + 0x1000n);
  });

  it("reads a vmlinux that is packed by itself", () => {
    expect(open(gzipSync(kernel([]))).container).toBe("vmlinux (gzip)");
  });

  it("reads a boot image", () => {
    const image = open(buildBootImage(gzipSync(kernel([0, 0x81000010, 0, 0x81000020]))));
    expect(image.container).toBe("bzImage (gzip)");
    expect(image.release).toBe("6.1.0-7-test");
    expect(plain(image.relocations?.abs64)).toEqual([0x1000010]);
  });

  it("reads a boot image whose kernel is not packed", () => {
    expect(open(buildBootImage(kernel([]))).container).toBe("bzImage (not packed)");
  });

  it("takes the release from the boot header when the kernel has no banner", () => {
    const bare = buildElf({
      type: 2,
      sections: [{ name: ".text", flags: 6, address: TEXT, data: new Uint8Array(16) }],
    });
    expect(open(buildBootImage(gzipSync(bare)))).toMatchObject({ release: "3.0.1-test", version: undefined });
  });

  const broken: readonly [string, Uint8Array, string][] = [
    [
      "text",
      new TextEncoder().encode("#!/bin/sh\n"),
      "vmlinuz: a file that is neither a bzImage nor an ELF vmlinux, packed or not, is not supported",
    ],
    [
      "nothing",
      new Uint8Array(),
      "vmlinuz: a file that is neither a bzImage nor an ELF vmlinux, packed or not, is not supported",
    ],
    [
      "an old boot protocol",
      buildBootImage(new Uint8Array(8), "", (v) => v.setUint16(0x206, 0x204, true)),
      "vmlinuz: setup header+0x206: boot protocol 2.4 (2.8 and later are) is not supported",
    ],
    [
      "a payload outside the file",
      buildBootImage(new Uint8Array(8), "", (v) => v.setUint32(0x24c, 0xfffffff0, true)),
      "vmlinuz: setup header+0x248: payload [0x440, +0xfffffff0) lies outside the file of 1096 bytes",
    ],
    [
      "an unknown payload",
      buildBootImage(words([1, 2, 3])),
      "vmlinuz: payload: the compression with magic 01 00 00 00 02 00 is not supported",
    ],
    [
      "a payload that holds no ELF file",
      buildBootImage(gzipSync("hello")),
      "vmlinuz: payload: vmlinux: the gzip data unpacks to something that is no ELF file",
    ],
    ["a module", buildElf({ type: 1, sections: [] }), "vmlinuz: ELF header+0x10: type 1 is no kernel's (2 or 3)"],
  ];
  it.each(broken)("says what is wrong with %s", (_, bytes, message) => {
    expect(() => open(bytes)).toThrow(message);
  });
});

describe("the relocation table behind a kernel", () => {
  const abs64 = [0x81000000, 0x81001078];
  const inverse32 = [0x810000f0];
  const abs32 = [0x810000fc, 0x81002000, 0x81000004];

  it("has three groups while per-CPU addresses are zero-based", () => {
    const table = open(kernel([0, ...abs64, 0, ...inverse32, 0, ...abs32])).relocations;
    expect(table?.base).toBe(0xffffffff80000000n);
    expect(plain(table?.abs64)).toEqual([0x1000000, 0x1001078]);
    expect(plain(table?.inverse32)).toEqual([0x10000f0]);
    expect(plain(table?.abs32)).toEqual([0x10000fc, 0x1002000, 0x1000004]);
  });

  it("has two groups where they are not", () => {
    const table = open(kernel([0, ...abs64, 0, ...abs32])).relocations;
    expect(plain(table?.abs64)).toEqual([0x1000000, 0x1001078]);
    expect(plain(table?.inverse32)).toEqual([]);
    expect(plain(table?.abs32)).toEqual([0x10000fc, 0x1002000, 0x1000004]);
  });

  it("may have empty groups", () => {
    const table = open(kernel([0, ...abs64, 0, 0])).relocations;
    expect([table?.abs64.length, table?.inverse32.length, table?.abs32.length]).toEqual([2, 0, 0]);
  });

  const outside = "names places outside the kernel";
  const implausible: readonly [string, readonly number[], string][] = [
    ["does not start with a zero", [...abs64, 0, ...abs32], "does not begin with a zero word"],
    ["has one group", [0, ...abs64], "has one group, not two or three"],
    ["has four groups", [0, 0x81000000, 0, 0x81000000, 0, 0x81000000, 0, 0x81000000], "has more than three groups"],
    ["points outside all sections", [0, ...abs64, 0, 0x81000200], outside],
    ["points at a section's last bytes", [0, 0x8100107c, 0, ...abs32], outside],
    ["points into the lower half", [0, 0x01000000, 0, ...abs32], outside],
    ["is a single word", [0], "would have 1 words"],
  ];
  it.each(implausible)("is not believed when it %s", (_, table, problem) => {
    const image = open(kernel(table));
    expect(image.relocations).toBeUndefined();
    expect(image.relocationProblem).toMatch(/^vmlinuz\+0x[0-9a-f]+: the relocation table behind the kernel /);
    expect(image.relocationProblem).toContain(problem);
  });

  it("is not missed by a kernel without one", () => {
    expect(open(kernel([])).relocationProblem).toBeUndefined();
  });

  it("is found at an offset that is no multiple of four", () => {
    const odd = kernel([], { behind: Uint8Array.from([...words([0, ...abs64, 0, ...abs32]), 1]) });
    expect(open(odd).relocations?.abs64.length).toBe(2);
  });
});
