// One relocation a line, as the linker leaves them in a vmlinux: which of the kernel's three tables it belongs in.
import { expect, it } from "vitest";
import { BufferSource } from "../bytes/source.ts";
import { openKernelImage } from "./kernel-image.ts";
import { buildElf } from "./testing/build-elf.ts";

const TEXT = 0xffffffff81000000n;
const LOADED = TEXT + 0x2000n;
/** Symbols: 1 text, 2 per-CPU variable, 3 __per_cpu_load, 4 absolute constant, 5 undefined, 6 absolute kernel address */
const NAMES = ["", "text", "variable", "__per_cpu_load", "constant", "undefined", "_absolute"];
const ABS = 0xfff1;

function symbols(): { table: Uint8Array; strings: Uint8Array } {
  const strings = new TextEncoder().encode(`${NAMES.join("\0")}\0`);
  const rows: [number, bigint][] = [
    [0, 0n],
    [1, TEXT],
    [2, 0x10n],
    [2, LOADED],
    [ABS, 0x1234n],
    [0, 0n],
    [ABS, TEXT + 8n],
  ];
  const table = new Uint8Array(rows.length * 24);
  const view = new DataView(table.buffer);
  let name = 0;
  rows.forEach(([section, value], i) => {
    view.setUint32(i * 24, name, true);
    name += NAMES[i].length + 1;
    view.setUint16(i * 24 + 6, section, true);
    view.setBigUint64(i * 24 + 8, value, true);
  });
  return { table, strings };
}

function open(target: number, offset: bigint, type: number, symbol: number, withText = true) {
  const { table, strings } = symbols();
  const rela = new Uint8Array(24);
  const view = new DataView(rela.buffer);
  view.setBigUint64(0, offset, true);
  view.setUint32(8, type, true);
  view.setUint32(12, symbol, true);
  const elf = buildElf({
    type: 2,
    sections: [
      { name: ".text", flags: 6, address: TEXT, data: new Uint8Array(0x100) },
      { name: ".data..percpu", flags: 3, address: 0n, data: new Uint8Array(0x40) },
      { name: ".symtab", type: 2, data: table, link: 4, entrySize: 24 },
      { name: ".strtab", type: 3, data: strings },
      { name: ".rela", type: 4, data: rela, link: 3, info: target, entrySize: 24 },
      ...(target === 1 || !withText
        ? []
        : [{ name: ".rela.text", type: 4, link: 3, info: 1, entrySize: 24, data: new Uint8Array() }]),
    ],
    segments: [{ virtual: TEXT, physical: 0x1000000n, section: 1 }],
  });
  const { relocations, relocationProblem } = openKernelImage(new BufferSource("vmlinux", elf));
  return {
    problem: relocationProblem,
    abs64: Array.from(relocations?.abs64 ?? []),
    abs32: Array.from(relocations?.abs32 ?? []),
    inverse32: Array.from(relocations?.inverse32 ?? []),
  };
}

const none = { abs64: [], abs32: [], inverse32: [], problem: undefined };

it.each<[string, number, bigint, number, number, object]>([
  ["R_X86_64_64", 1, TEXT + 8n, 1, 1, { ...none, abs64: [0x1000008] }],
  ["R_X86_64_32", 1, TEXT + 8n, 10, 1, { ...none, abs32: [0x1000008] }],
  ["R_X86_64_32S", 1, TEXT + 8n, 11, 1, { ...none, abs32: [0x1000008] }],
  ["PC32 within the kernel", 1, TEXT + 8n, 2, 1, none],
  ["PC32 of a per-CPU variable", 1, TEXT + 8n, 2, 2, { ...none, inverse32: [0x1000008] }],
  ["PLT32 of a per-CPU variable", 1, TEXT + 8n, 4, 2, { ...none, inverse32: [0x1000008] }],
  ["an address of a per-CPU variable", 1, TEXT + 8n, 11, 2, none],
  ["what only lies in the per-CPU section", 1, TEXT + 8n, 11, 3, { ...none, abs32: [0x1000008] }],
  ["a constant", 1, TEXT + 8n, 11, 4, none],
  ["an undefined symbol", 1, TEXT + 8n, 11, 5, none],
  ["an absolute address of the kernel", 1, TEXT + 8n, 11, 6, { ...none, abs32: [0x1000008] }],
  ["a pointer in the per-CPU section", 2, 0x20n, 1, 1, { ...none, abs64: [0x1002020] }],
  ["a symbol that is not there", 1, TEXT, 1, 99, { ...none, problem: "vmlinux: .rela+0xc: symbol 99 of 7" }],
])("%s", (_what, target, offset, type, symbol, expected) => {
  expect(open(target, offset, type, symbol)).toEqual(expected);
});

it("has no table when the relocations of .text were stripped", () => {
  expect(open(2, 0x20n, 1, 1, false)).toEqual(none);
});
