// The lab itself: one guest dumped in every format, each of them what it claims to be.
import { openSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { readElfHeader, readNotes, readProgramHeaders } from "../../packages/core/src/bytes/elf.ts";
import { dumpFormats } from "../../packages/lab/dump-types.ts";
import { FileSource } from "../../packages/node/src/file-source.ts";
import { type LabDump, labDump } from "./support.ts";

const MEMORY_MEGABYTES = 256;
const PT_LOAD = 1;
const PT_NOTE = 4;

describe("a Debian 6.1 guest dumped in every format", () => {
  let dump: LabDump;
  beforeAll(async () => {
    dump = await labDump("6.1", { memoryMegabytes: MEMORY_MEGABYTES, formats: dumpFormats });
  });

  it("has the facts of the guest that was asked for", () => {
    const { facts } = dump;
    expect(facts).toMatchObject({ flavour: "6.1", cpus: 4, cpusOnline: "0-3", states: ["plain"], append: "" });
    expect(facts.release).toMatch(/^6\.1\.\d+-\d+-amd64$/);
    expect(facts.modulesMissing).toEqual([]);
    expect(facts.modulesFailed).toEqual([]);
    expect([...facts.modulesLoaded].sort()).toEqual([...facts.modulesGiven].sort());
    for (const name of ["floppy", "loop", "dm_mod", "xfs", "ext4"]) {
      expect(facts.modulesLoaded).toContain(name);
      expect(
        readFileSync(join(dump.modules, `${name}.ko`))
          .subarray(1, 4)
          .toString(),
      ).toBe("ELF");
    }
    expect(facts.dumps.map(({ format }) => format).sort()).toEqual([...dumpFormats].sort());
    for (const { file, bytes } of facts.dumps) expect(statSync(join(dump.folder, file)).size).toBe(bytes);
  });

  it.each(["elf", "elf-paging"] as const)(
    "%s: an ELF core with all memory, a note for each CPU, and VMCOREINFO",
    (format) => {
      const source = new FileSource(dump.path(format));
      const header = readElfHeader(source);
      expect(header.type).toBe(4); // ET_CORE
      const segments = readProgramHeaders(source, header);
      const loads = segments.filter(({ type }) => type === PT_LOAD);
      const loaded = loads.reduce((sum, { fileSize }) => sum + fileSize, 0);
      expect(loaded).toBeGreaterThan((MEMORY_MEGABYTES - 1) << 20);
      // Only with paging do the segments lie at kernel addresses.
      expect(loads.some(({ virtualAddress }) => virtualAddress >> 47n !== 0n)).toBe(format === "elf-paging");
      const { offset, fileSize } = segments.find(({ type }) => type === PT_NOTE)!;
      const notes = readNotes(source.read(offset, fileSize), "notes");
      const named = (name: string) => notes.filter((note) => note.name === name);
      expect(named("CORE")).toHaveLength(4);
      expect(named("QEMU")).toHaveLength(4);
      const vmcoreinfo = Buffer.from(named("VMCOREINFO")[0].desc).toString("latin1");
      expect(vmcoreinfo).toContain(`OSRELEASE=${dump.facts.release}\n`);
      source.close();
      expect(vmcoreinfo).toMatch(/^KERNELOFFSET=[1-9a-f][0-9a-f]*$/m); // KASLR is on
    },
  );

  it("kdump-zlib: flattened; kdump-plain: the same in order, with VMCOREINFO near its head", () => {
    expect(head(dump.path("kdump-zlib"), 12)).toBe("makedumpfile");
    const plain = head(dump.path("kdump-plain"), 1 << 16);
    expect(plain.slice(0, 8)).toBe("KDUMP   ");
    // struct disk_dump_header: signature[8], int header_version, struct new_utsname: 65 bytes a field, machine the
    // fifth. QEMU fills in no other.
    const machine = 8 + 4 + 4 * 65;
    expect(plain.slice(machine, plain.indexOf("\0", machine))).toBe("x86_64");
    expect(plain).toContain(`OSRELEASE=${dump.facts.release}\n`);
  });

  it("is made once: asking again, or for fewer formats, gives the same folder", async () => {
    expect((await labDump("6.1", { memoryMegabytes: MEMORY_MEGABYTES, formats: ["kdump-zlib"] })).folder).toBe(
      dump.folder,
    );
  });
});

function head(path: string, length: number): string {
  const bytes = Buffer.alloc(length);
  const file = openSync(path, "r");
  return bytes.toString("latin1", 0, readSync(file, bytes, 0, length, 0));
}
