import { describe, expect, it } from "vitest";
import { fromKernelOffset } from "../../core/src/bytes/brand.ts";
import { FormatError } from "../../core/src/bytes/errors.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { buildElf, buildIdNote, type SectionSpec } from "../../core/src/image/testing/build-elf.ts";
import type { TypesContext } from "../../core/src/kernel/layouts/type-sources.ts";
import { fakeKernel } from "../../core/src/sites/testing/fake-kernel.ts";
import { DW_AT as AT, DW_FORM as F, DW_TAG as T } from "../../core/src/symbols/dwarf/forms.ts";
import { buildDwarf } from "../../core/src/symbols/testing/build-dwarf.ts";
import { DebugInfo } from "./debug-info.ts";

const ID = [0x5a, 0x21, 0xb5];
const OTHER = [0xac, 0xb8, 0xc1];
const BANNER = "Linux version 3.0.1 (me@here) #1";

const latin = (text: string): Uint8Array => new TextEncoder().encode(text);

const dwarf = buildDwarf({
  version: 4,
  units: [
    [
      {
        tag: T.structureType,
        attributes: [
          [AT.byteSize, F.data1, 24],
          [AT.name, F.string, "completion"],
        ],
      },
    ],
  ],
});
const DWARF: readonly SectionSpec[] = [
  { name: ".debug_info", data: dwarf.info },
  { name: ".debug_abbrev", data: dwarf.abbrev },
  { name: ".debug_str", data: dwarf.str },
];
const note = (id: readonly number[]): SectionSpec => ({ name: ".note.gnu.build-id", type: 7, data: buildIdNote(id) });
const rodata = (text: string): SectionSpec => ({ name: ".rodata", data: latin(`${text}\n\0`) });

function open(sections: readonly SectionSpec[], type = 2, name = "vmlinux"): DebugInfo {
  return DebugInfo.open(new BufferSource(name, buildElf({ type, sections })));
}

const dump: TypesContext = {
  memory: fakeKernel().memory,
  symbols: fakeKernel().symbols,
  buildId: "5a21b5",
  release: "3.0.1",
  version: BANNER,
};

describe("--debug-info", () => {
  it("ties a vmlinux to the dump by build-id, else by banner", () => {
    const given = open([...DWARF, note(ID)]).typesFor(dump);
    expect(given.proof).toBe("build-id 5a21b5");
    expect(given.types.sizeOf("struct completion")).toBe(24);
    expect(open([...DWARF, rodata(BANNER)]).typesFor(dump).proof).toBe("the same linux_banner");
    expect(open(DWARF).typesFor(dump).proof).toBeUndefined();
  });

  it("refuses a vmlinux of another build", () => {
    expect(() => open([...DWARF, note(OTHER)]).typesFor(dump)).toThrow(
      "vmlinux is debug information of another build: its build-id is acb8c1, the dump's 5a21b5 (3.0.1)",
    );
    expect(() => open([...DWARF, rodata("Linux version 3.0.2 (me@here) #1")]).typesFor(dump)).toThrow(
      `it is "Linux version 3.0.2 (me@here) #1", the dump runs "${BANNER}"`,
    );
  });

  it("refuses a module of another release", () => {
    const modinfo = (release: string): SectionSpec => ({
      name: ".modinfo",
      data: latin(`license=GPL\0vermagic=${release} SMP mod_unload \0`),
    });
    expect(open([...DWARF, modinfo("3.0.1")], 1, "floppy.ko").typesFor(dump).proof).toBeUndefined();
    expect(() => open([...DWARF, modinfo("3.2.0")], 1, "floppy.ko").typesFor(dump)).toThrow(
      "floppy.ko is debug information of another build: it was built for release 3.2.0, the dump's is 3.0.1",
    );
  });

  it("refuses the file of a module that another build of it was loaded from", () => {
    const at = fromKernelOffset(0x20100000);
    const module = {
      name: "floppy",
      address: at,
      state: "live",
      regions: [],
      text: { base: at, size: 0 },
      sections: new Map([[".note.gnu.build-id", at]]),
      percpu: 0n,
      problems: [],
    } as const;
    const kernel = fakeKernel({ modules: [module] });
    kernel.memory.put(at, buildIdNote([...ID, 0, ...new Array(16).fill(0)]));
    const own = open([...DWARF, note([...ID, 0, ...new Array(16).fill(0)])], 1, "/x/floppy.ko");
    expect(() => own.checkModule(kernel)).not.toThrow();
    expect(() => open([...DWARF, note(OTHER)], 1, "/x/fat.ko").checkModule(kernel)).not.toThrow();
    expect(() => open([...DWARF, note(OTHER)], 1, "/x/floppy.ko").checkModule(kernel)).toThrow(
      "its build-id is acb8c1, that of the loaded module 5a21b5",
    );
  });

  it("says what a file lacks", () => {
    expect(() => open([note(ID)])).toThrow("debug information (.debug_info) in vmlinux is missing");
    expect(() => DebugInfo.open(new BufferSource("vmlinuz", latin("MZ, no ELF file at all")))).toThrow(
      "vmlinuz: debug information in anything but an ELF file is not supported",
    );
  });

  it("words a contradiction as another build", () => {
    const error = open(DWARF).contradicted(new FormatError("DWARF of vmlinux", "it contradicts the dump"));
    expect(error.message).toBe("vmlinux is debug information of another build: it contradicts the dump");
    expect(error.category).toBe("mismatch");
  });
});
