// Checks the modern specimen against itself by independent means: iced's decoder on each declared site, the project's
// ELF reader, and its dump and symbol readers.
import * as iced from "iced-x86";
import { beforeAll, describe, expect, test } from "vitest";
import { virtualAddress } from "../../core/src/bytes/brand.ts";
import { readElfHeader, readNotes, readProgramHeaders, readSections } from "../../core/src/bytes/elf.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { openKernelImage } from "../../core/src/image/kernel-image.ts";
import type { Kernel } from "../../core/src/kernel/kernel.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { openDump } from "../../core/src/memory/open.ts";
import { hex, toHex } from "../bytes.ts";
import type { TrueSite } from "../machine/boot-patcher.ts";
import { makeSpecimen, type Specimen } from "./specimen.ts";

let specimen: Specimen;
let kernel: Kernel;
beforeAll(() => {
  specimen = makeSpecimen();
  kernel = openKernel(openDump(new BufferSource("specimen", specimen.dump)));
});

function mnemonics(bytes: Uint8Array): string[] {
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const names: string[] = [];
  while (decoder.canDecode) names.push(iced.Mnemonic[decoder.decode().mnemonic]);
  return names;
}

test("is the same each time", () => {
  const again = makeSpecimen();
  expect(Buffer.from(again.dump).equals(Buffer.from(specimen.dump))).toBe(true);
  expect(Buffer.from(again.vmlinuz).equals(Buffer.from(specimen.vmlinuz))).toBe(true);
});

test("is small", () => {
  expect(specimen.dump.length).toBeLessThan(500_000);
  expect(specimen.vmlinuz.length).toBeLessThan(100_000);
});

describe("dump", () => {
  test("is an ELF core with notes and physical segments", () => {
    const source = new BufferSource("specimen", specimen.dump);
    const header = readElfHeader(source);
    const segments = readProgramHeaders(source, header);
    const notes = readNotes(source.read(segments[0].offset, segments[0].fileSize), "notes");
    expect(header.type).toBe(4);
    expect(notes.map((n) => n.name)).toEqual(["CORE", "CORE", "QEMU", "QEMU", "VMCOREINFO"]);
    expect(segments.slice(1).every((p) => p.type === 1 && p.physicalAddress % 4096n === 0n)).toBe(true);
  });

  test("tells the kernel without any other file", () => {
    expect(kernel.problems).toEqual([]);
    expect(kernel.release).toBe(specimen.truth.release);
    expect(kernel.buildId).toBe(specimen.truth.buildId);
    expect(kernel.kaslrOffset).toBe(specimen.truth.kaslrOffset);
    expect(kernel.modules.map((m) => m.name)).toEqual(["quire", "vellum"]);
  });

  test("has every core symbol in its kallsyms", () => {
    const wrong = [...specimen.truth.symbols].filter(
      ([name, address]) =>
        !name.startsWith("kallsyms_") && !kernel.symbols.lookupAll(name).some((s) => s.address === address),
    );
    expect(wrong).toEqual([]);
  });
});

test("the image holds the built bytes of each core site, relocated by its own table", () => {
  const image = openKernelImage(new BufferSource("vmlinuz", specimen.vmlinuz));
  const text = image.elf.section(".text")!;
  const bytes = image.elf.bytes(text).slice();
  const view = new DataView(bytes.buffer);
  const { kaslrOffset } = specimen.truth;
  const apply = (list: Int32Array, sign: bigint) => {
    for (const offset of list) {
      const at = Number(image.relocations!.base + BigInt(offset) - text.address);
      if (at < 0 || at >= bytes.length) continue;
      view.setUint32(at, Number(BigInt.asUintN(32, BigInt(view.getUint32(at, true)) + sign * kaslrOffset)), true);
    }
  };
  apply(image.relocations!.abs32, 1n);
  apply(image.relocations!.inverse32, -1n);
  const base = text.address + kaslrOffset;
  for (const site of specimen.truth.sites.filter((s) => s.object === "vmlinux")) {
    const at = Number(site.address - base);
    expect([site.mechanism, toHex(bytes.slice(at, at + site.length))]).toEqual([site.mechanism, site.built]);
  }
});

test("memory holds the found bytes of each site, and these are instructions of the mechanism's kind", () => {
  const kinds: Readonly<Record<string, RegExp>> = {
    ftrace: /^(Nop|Call)$/,
    returns: /^(Ret|Jmp|Nop|Call)(,|$)/,
    retpolines: /^(Call|Jmp)(,|$)/,
    "jump-labels": /^(Nop|Jmp)$/,
    "static-calls": /^(Nop|Call|Jmp|Jne|Ret,Int3,Int3,Int3,Int3|Xor)$/,
    paravirt: /^(Nop|Call,Nop)$/,
    kprobes: /^Int3$/,
  };
  // The return inside a retpoline thunk lies under the alternative that replaces the whole thunk.
  const covered = (s: TrueSite) =>
    specimen.truth.sites.some(
      (o) =>
        o.mechanism === "alternatives" && o !== s && o.address <= s.address && s.address < o.address + BigInt(o.length),
    );
  for (const site of specimen.truth.sites) {
    expect(toHex(kernel.memory.read(virtualAddress(site.address), site.length))).toBe(site.found);
    const kind = kinds[site.mechanism];
    if (kind && site.found !== site.built && !covered(site)) expect(mnemonics(hex(site.found)).join(",")).toMatch(kind);
  }
});

test("there is a site of every mechanism, in the core and in a module", () => {
  const all = [
    "alternatives",
    "ftrace",
    "jump-labels",
    "paravirt",
    "retpolines",
    "returns",
    "smp-locks",
    "static-calls",
  ];
  for (const object of ["vmlinux", "vellum"]) {
    const names = new Set(specimen.truth.sites.filter((s) => s.object === object).map((s) => s.mechanism));
    expect(all.filter((m) => !names.has(m))).toEqual([]);
  }
  const jumps = specimen.truth.sites
    .filter((s) => s.mechanism === "jump-labels")
    .map((s) => mnemonics(hex(s.found))[0] + s.length);
  expect(new Set(jumps)).toEqual(new Set(["Nop2", "Jmp2", "Nop5", "Jmp5"]));
});

test("modules are ET_REL files with their loader's sections", () => {
  for (const [name, bytes] of specimen.modules) {
    const source = new BufferSource(name, bytes);
    const header = readElfHeader(source);
    const names = readSections(source, header).map((s) => s.name);
    expect(header.type).toBe(1);
    expect(names).toEqual(
      expect.arrayContaining([".text", ".rela.text", ".modinfo", ".gnu.linkonce.this_module", ".symtab"]),
    );
  }
});

test.each(["vmcore", "kdump", "kdump-flattened"] as const)("the same memory opens as %s", (format) => {
  const { dump } = makeSpecimen({ format });
  const other = openKernel(openDump(new BufferSource(format, dump)));
  expect([other.problems, other.release, other.modules.length]).toEqual([[], kernel.release, 2]);
  const text = virtualAddress(specimen.truth.symbols.get("_text")!);
  expect(toHex(other.memory.read(text, 3000))).toBe(toHex(kernel.memory.read(text, 3000)));
  expect(other.dump.cpus.map((c) => c.registers.rip)).toEqual(kernel.dump.cpus.map((c) => c.registers.rip));
});

test("lock prefixes go with the second CPU", () => {
  const single = makeSpecimen({ cpus: 1 }).truth.sites.filter((s) => s.mechanism === "smp-locks");
  expect(new Set(single.map((s) => `${s.built}→${s.found}`))).toEqual(new Set(["f0→3e"]));
  const several = specimen.truth.sites.filter((s) => s.mechanism === "smp-locks");
  expect(new Set(several.map((s) => `${s.built}→${s.found}`))).toEqual(new Set(["f0→f0"]));
});
