import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { ModuleTree, modinfo, neededBefore } from "./modules.ts";

/** A relocatable ELF with nothing but a .modinfo section. */
function ko(info: string): Buffer {
  const names = Buffer.from("\0.modinfo\0.shstrtab\0");
  const data = Buffer.from(info);
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(1, 16); // ET_REL
  header.writeUInt16LE(62, 18); // EM_X86_64
  const sections = 64 + data.length + names.length;
  header.writeBigUInt64LE(BigInt(sections), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(3, 60);
  header.writeUInt16LE(2, 62);
  const section = (name: number, type: number, offset: number, size: number) => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(name, 0);
    bytes.writeUInt32LE(type, 4);
    bytes.writeBigUInt64LE(BigInt(offset), 24);
    bytes.writeBigUInt64LE(BigInt(size), 32);
    return bytes;
  };
  return Buffer.concat([
    ...[header, data, names, Buffer.alloc(64)],
    section(1, 1, 64, data.length),
    section(10, 3, 64 + data.length, names.length),
  ]);
}

describe("modinfo", () => {
  const xfs = { name: "xfs", bytes: ko("license=GPL\0depends=libcrc32c,dm-mod\0softdep=pre: crc32c xor post: late\0") };
  it("reads keys, and what must come first", () => {
    expect(modinfo(xfs, "license")).toEqual(["GPL"]);
    expect(modinfo(xfs, "alias")).toEqual([]);
    expect(neededBefore(xfs)).toEqual(["libcrc32c", "dm_mod", "crc32c", "xor"]);
  });
  it.each([
    ["depends=\0", []],
    ["softdep=post: late\0", []],
    ["softdep=pre: a\0softdep=post: b\0", ["a"]],
  ])("%j needs %j", (info, needed) => {
    expect(neededBefore({ name: "m", bytes: ko(info) })).toEqual(needed);
  });
});

describe("ModuleTree", () => {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-modules-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const put = (path: string, info: string) => {
    const file = join(folder, "kernel", path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, path.endsWith(".gz") ? gzipSync(ko(info)) : ko(info));
  };
  put("fs/xfs.ko", "depends=libcrc32c\0");
  put("lib/libcrc32c.ko", "depends=\0softdep=pre: crc32c\0");
  put("crypto/crc32c_generic.ko.gz", "alias=crypto-crc32c\0");
  put("crypto/crct10dif.ko", "alias=crypto-crct10dif\0");
  put("drivers/md/dm-mod.ko", "depends=dax\0");
  put("a/ring-one.ko", "depends=ring-two\0");
  put("a/ring-two.ko", "depends=ring-one\0");

  const names = async (wanted: string[]) => {
    const { modules, missing } = await new ModuleTree(folder).resolve(wanted);
    return { order: modules.map(({ name }) => name), missing };
  };
  it("loads what is needed first, an algorithm's module by its alias, and each once", async () => {
    expect(await names(["xfs", "libcrc32c", "xfs"])).toEqual({
      order: ["crc32c_generic", "libcrc32c", "xfs"],
      missing: [],
    });
  });
  it("takes - for _, leaves out what is not there, and tells what was asked for in vain", async () => {
    expect(await names(["dm-mod", "floppy"])).toEqual({ order: ["dm_mod"], missing: ["floppy"] });
  });
  it("ends on modules that need each other", async () => {
    expect((await names(["ring-one"])).order).toEqual(["ring_two", "ring_one"]);
  });
});
