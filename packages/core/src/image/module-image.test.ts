// Modules built here: names, signatures, relocations, and what is said about broken ones.
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { BufferSource } from "../bytes/source.ts";
import { openElf } from "./elf-file.ts";
import { openModuleImage } from "./module-image.ts";
import { moduleNameOf } from "./module-name.ts";
import { R_X86_64, readRela, relaFor } from "./rela.ts";
import { buildElf, buildIdNote, type SectionSpec } from "./testing/build-elf.ts";

const text = (value: string) => new TextEncoder().encode(value);
const modinfo = (value: string): SectionSpec => ({ name: ".modinfo", data: text(value) });
const open = (sections: readonly SectionSpec[], name = "snd-hda-codec.ko", behind?: Uint8Array) =>
  openModuleImage(new BufferSource(name, buildElf({ sections, behind })));

describe("openModuleImage", () => {
  it("reads name, vermagic and build-id", () => {
    const image = open([
      modinfo("license=GPL\0name=snd_hda_codec\0vermagic=6.1.0-7-test SMP mod_unload \0"),
      { name: ".note.gnu.build-id", type: 7, data: buildIdNote([1, 2, 0xab]) },
    ]);
    expect(image).toMatchObject({ name: "snd_hda_codec", vermagic: "6.1.0-7-test SMP mod_unload ", buildId: "0102ab" });
  });

  it("takes the name from struct module where .modinfo has none", () => {
    const descriptor = new Uint8Array(0x100);
    descriptor.set(text("floppy"), 24);
    expect(open([modinfo("license=GPL\0"), { name: ".gnu.linkonce.this_module", data: descriptor }]).name).toBe(
      "floppy",
    );
  });

  it("takes the name from the file at last", () => {
    expect(open([], "/lib/modules/x/snd-hda-codec.ko").name).toBe("snd_hda_codec");
  });

  it("does not mind an appended signature, nor gzip", () => {
    const signature = text("\x30\x82 …~Module signature appended~\n");
    const bytes = buildElf({ sections: [modinfo("name=loop\0")], behind: signature });
    expect(openModuleImage(new BufferSource("loop.ko.gz", gzipSync(bytes))).name).toBe("loop");
  });

  it("refuses what is no module", () => {
    const kernel = new BufferSource("vmlinux", buildElf({ type: 2, sections: [] }));
    expect(() => openModuleImage(kernel)).toThrow("vmlinux: ELF header+0x10: type 2 is no module's (1)");
    expect(() => openModuleImage(new BufferSource("x.ko", text("hello")))).toThrow(
      "x.ko: a file that is no ELF module, packed or not, is not supported",
    );
    expect(() => openModuleImage(new BufferSource("x.ko.gz", gzipSync("hello")))).toThrow(
      "x.ko.gz: the gzip data unpacks to something that is no ELF file",
    );
    const other = new BufferSource("arm.ko", buildElf({ machine: 183, sections: [] }));
    expect(() => openModuleImage(other)).toThrow(
      "arm.ko: ELF header+0x12: an ELF file of an arm64 kernel is not supported",
    );
  });
});

describe("moduleNameOf", () => {
  const names: readonly [string, string | undefined][] = [
    ["ext4.ko", "ext4"],
    ["kernel/sound/pci/hda/snd-hda-codec.ko.xz", "snd_hda_codec"],
    ["nfs_layout-x.ko.zst", "nfs_layout_x"],
    ["xfs.ko.gz", "xfs"],
    ["xfs.ko.debug", "xfs"],
    ["modules.dep", undefined],
    [".ko", undefined],
  ];
  it.each(names)("%s", (path, name) => {
    expect(moduleNameOf(path)).toBe(name);
  });
});

describe("readRela", () => {
  const rela = (entries: readonly [bigint, number, number, bigint][]) => {
    const bytes = new Uint8Array(24 * entries.length);
    const view = new DataView(bytes.buffer);
    entries.forEach(([offset, type, symbol, addend], i) => {
      view.setBigUint64(24 * i, offset, true);
      view.setUint32(24 * i + 8, type, true);
      view.setUint32(24 * i + 12, symbol, true);
      view.setBigInt64(24 * i + 16, addend, true);
    });
    return bytes;
  };
  // As an ELF file only: a module whose section headers contradict each other is refused as a whole.
  const image = (data: Uint8Array, more: Partial<SectionSpec> = {}) => {
    const sections = [
      { name: ".text", flags: 6, data: new Uint8Array(32) },
      { name: ".rela.text", type: 4, data, link: 3, info: 1, entrySize: 24, ...more },
      { name: ".symtab", type: 2, data: new Uint8Array(72), entrySize: 24 },
    ];
    return openElf(new BufferSource("snd-hda-codec.ko", buildElf({ sections })));
  };
  const read = (elf: ReturnType<typeof image>) => readRela(elf, elf.sections[2]);

  it("reads columns", () => {
    const elf = image(
      rela([
        [4n, R_X86_64.PC32, 2, -4n],
        [31n, R_X86_64.R64, 0, 1n << 40n],
      ]),
    );
    expect(relaFor(elf, elf.sections[1])?.name).toBe(".rela.text");
    expect(relaFor(elf, elf.sections[3])).toBeUndefined();
    const table = read(elf);
    expect(table.target.name).toBe(".text");
    expect([table.count, ...table.offsets, ...table.types, ...table.symbols, ...table.addends]).toEqual([
      2,
      4,
      31,
      2,
      1,
      2,
      0,
      -4,
      2 ** 40,
    ]);
  });

  it("refuses what makes no sense", () => {
    const good = rela([[0n, 1, 0, 0n]]);
    expect(() =>
      read(
        image(
          rela([
            [0n, 1, 0, 0n],
            [32n, 1, 0, 0n],
          ]),
        ),
      ),
    ).toThrow("snd-hda-codec.ko: .rela.text+0x18: offset outside .text of 32 bytes");
    expect(() => read(image(rela([[1n << 32n, 1, 0, 0n]])))).toThrow(".rela.text+0x0: offset outside .text");
    expect(() => read(image(rela([[0n, 1, 3, 0n]])))).toThrow(".rela.text+0xc: symbol 3 of 3");
    expect(() => read(image(good, { entrySize: 16 }))).toThrow(".rela.text: 24 bytes of 16-byte entries, not of 24");
    expect(() => read(image(good, { info: 99 }))).toThrow(".rela.text: target 99 or symbols 3 of 5 sections");
    expect(() => read(image(good, { type: 9 }))).toThrow(".rela.text: section type 9, not RELA");
  });
});
