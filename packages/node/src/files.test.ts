// Finding images and modules in file trees made here: by flag, in a system's places, beside the dump, in packages.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildBootImage, buildElf, buildIdNote } from "../../core/src/image/testing/build-elf.ts";
import { bytesOf, deb, join as joinBytes, tarMember } from "../../core/src/image/testing/build-package.ts";
import { type FilesOptions, openFiles } from "./files.ts";
import { listFolder } from "./folder.ts";
import { imagePlaces, isImageName, releaseRank } from "./places.ts";

let root: string;
const notes: string[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "palimpsest-files-"));
  notes.length = 0;
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, bytes: Uint8Array | string): string {
  const full = join(root, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, bytes);
  return full;
}
const files = (options: FilesOptions = {}) =>
  openFiles({ root, cacheFolder: join(root, "cache"), note: (text) => notes.push(text), ...options });

function vmlinux(release: string, id: number, textType = 1): Uint8Array {
  return buildElf({
    type: 2,
    sections: [
      { name: ".text", type: textType, flags: 6, address: 0xffffffff81000000n, data: new Uint8Array(64), size: 64 },
      { name: ".notes", type: 7, data: buildIdNote([id, id]) },
      { name: ".rodata", data: bytesOf(`Linux version ${release} (me@here) #1 SMP\0`) },
    ],
  });
}
const vmlinuz = (release: string, id = 1) => buildBootImage(gzipSync(vmlinux(release, id)), `${release} (me@here) #1`);
const module = (name: string, id = 1) =>
  buildElf({
    sections: [
      { name: ".modinfo", data: bytesOf(`name=${name}\0`) },
      { name: ".note.gnu.build-id", type: 7, data: buildIdNote([id]) },
    ],
  });

describe("image", () => {
  it("takes the file that --image names, whatever it is called", async () => {
    const imageFlag = put("somewhere/my-kernel", vmlinuz("6.1.0-7"));
    const found = await files({ imageFlag }).image({ release: "6.1.0-7" });
    expect(found).toMatchObject({ path: imageFlag, origin: "flag", match: "release" });
    expect(found.image.container).toBe("bzImage (gzip)");
  });

  it("says when the file that --image names is another kernel's", async () => {
    const imageFlag = put("vmlinuz", vmlinuz("6.1.0-7"));
    expect((await files({ imageFlag }).image({ release: "6.1.0-8" })).match).toBe("different");
    expect((await files({ imageFlag }).image({ release: "6.1.0-7", buildId: "0909" })).match).toBe("different");
    expect((await files({ imageFlag }).image({})).match).toBe("unknown");
  });

  it("throws what is wrong with the file that --image names", async () => {
    const imageFlag = put("vmlinuz", "hello");
    await expect(files({ imageFlag }).image({})).rejects.toThrow("neither a bzImage nor an ELF vmlinux");
    await expect(files({ imageFlag: join(root, "nosuch") }).image({})).rejects.toThrow(
      "nosuch is missing; --image takes a file, a folder, a .deb or an .rpm",
    );
    execFileSync("mkfifo", [join(root, "pipe")]);
    await expect(files({ imageFlag: join(root, "pipe") }).image({})).rejects.toThrow(
      "pipe: neither a file nor a folder",
    );
  });

  it("chooses by build-id in a folder", async () => {
    put("kernels/boot/vmlinuz-6.1.0-7", vmlinuz("6.1.0-7", 1));
    put("kernels/old/vmlinuz-6.1.0-7", vmlinuz("6.1.0-7", 2));
    put("kernels/boot/vmlinuz-6.1.0-8", vmlinuz("6.1.0-8", 3));
    put("kernels/boot/vmlinuz-6.1.0-9", "broken");
    const imageFlag = join(root, "kernels");
    const found = await files({ imageFlag }).image({ release: "6.1.0-7", buildId: "0202" });
    expect(found.path).toBe(join(root, "kernels/old/vmlinuz-6.1.0-7"));
    expect(notes).toEqual([]);
    expect((await files({ imageFlag }).image({ release: "6.1.0-8" })).path).toContain("vmlinuz-6.1.0-8");
    await files({ imageFlag }).image({ release: "6.1.0-9" });
    expect(notes).toEqual([
      `${join(root, "kernels/boot/vmlinuz-6.1.0-9")} is passed over: a file that is neither a bzImage nor an ELF vmlinux, packed or not, is not supported`,
    ]);
    await expect(files({ imageFlag: put("empty/readme", "") && join(root, "empty") }).image({})).rejects.toThrow(
      /^a kernel image in .*empty is missing; looked for vmlinuz\*/,
    );
  });

  it("looks where distributions put it, and passes over what has no code", async () => {
    put("boot/vmlinuz-6.1.0-7", vmlinux("6.1.0-7", 1, 8));
    const path = put("usr/lib/modules/6.1.0-7/vmlinuz", vmlinuz("6.1.0-7"));
    const found = await files().image({ release: "6.1.0-7", buildId: "0101" });
    expect(found).toMatchObject({ path, origin: "system", match: "build-id" });
    expect(notes.join()).toContain("a file with debug information but without code");
  });

  it("looks by build-id for a debug package's vmlinux", async () => {
    const path = put("usr/lib/debug/.build-id/de/adbeef.debug", vmlinux("6.1.0-7", 1));
    // The builder writes two equal bytes, so the name on disk is a lie here and the contents decide.
    await expect(files().image({ buildId: "deadbeef" })).rejects.toThrow("is missing; looked in");
    expect(notes).toContain(`${path} is of 6.1.0-7, not of the dump's kernel`);
  });

  it("looks beside the dump at last", async () => {
    const dumpPath = put("case/vmcore", "dump");
    const path = put("case/vmlinuz", vmlinuz("6.1.0-7"));
    put("boot/vmlinuz-6.1.0-7", vmlinuz("6.1.0-7", 9));
    const found = await files({ dumpPath }).image({ release: "6.1.0-7", buildId: "0101" });
    expect(found).toMatchObject({ path, origin: "beside the dump", match: "build-id" });
  });

  it("lists where it looked when there is none", async () => {
    const dumpPath = put("case/vmcore", "dump");
    await expect(files({ dumpPath }).image({ release: "6.1.0-7" })).rejects.toThrow(
      /^the kernel image of 6\.1\.0-7 is missing; looked in .*boot\/vmlinuz-6\.1\.0-7, .*case\/vmlinuz\*$/,
    );
  });

  it("reads from the cache the second time, and not with --no-cache", async () => {
    const imageFlag = put("vmlinuz", vmlinuz("6.1.0-7"));
    await files({ imageFlag, useCache: false }).image({});
    expect(readdirSync(root)).not.toContain("cache");
    await files({ imageFlag }).image({});
    expect(readdirSync(join(root, "cache"))).toHaveLength(1);
    const again = await files({ imageFlag }).image({ release: "6.1.0-7" });
    expect(again.image).toMatchObject({ container: "bzImage (gzip)", release: "6.1.0-7", buildId: "0101" });
    expect(again.image.version).toBe("Linux version 6.1.0-7 (me@here) #1 SMP");
    expect(again.image.elf.source.name).toBe(`${imageFlag}: vmlinux`);
  });

  it("finds image and modules in a package", async () => {
    const tar = joinBytes(
      tarMember("./boot/vmlinuz-6.1.0-7", "0", vmlinuz("6.1.0-7")),
      tarMember("./lib/modules/6.1.0-7/kernel/snd-pcm.ko", "0", module("snd_pcm")),
      tarMember("./usr/share/doc/vmlinuz.txt", "0", bytesOf("x")),
      new Uint8Array(1024),
    );
    const imageFlag = put("linux-image.deb", deb(tar));
    for (const useCache of [false, true, true]) {
      const finder = files({ imageFlag, useCache });
      const found = await finder.image({ release: "6.1.0-7" });
      expect(found.path).toBe(`${imageFlag}: boot/vmlinuz-6.1.0-7`);
      const modules = await finder.modules([{ name: "snd_pcm" }, { name: "other" }], "6.1.0-7");
      expect([...modules.keys()]).toEqual(["snd_pcm"]);
      expect(modules.get("snd_pcm")?.open().name).toBe("snd_pcm");
      expect(modules.get("snd_pcm")?.path).toBe(`${imageFlag}: lib/modules/6.1.0-7/kernel/snd-pcm.ko`);
    }
  });
});

describe("modules", () => {
  it("are found by name, with - for _ and packed", async () => {
    put("m/kernel/snd-hda-codec.ko.gz", gzipSync(module("snd_hda_codec")));
    put("m/kernel/ext4.ko", module("ext4"));
    put("m/kernel/ext4.ko.debug", "x");
    const found = await files({ modulesFlag: join(root, "m") }).modules(
      [{ name: "snd_hda_codec" }, { name: "ext4" }, { name: "nosuch" }],
      undefined,
    );
    expect([...found.keys()]).toEqual(["snd_hda_codec", "ext4"]);
    expect(found.get("snd_hda_codec")?.open().name).toBe("snd_hda_codec");
    expect(found.get("ext4")?.path).toBe(join(root, "m/kernel/ext4.ko"));
  });

  it("are chosen by release, build-id and depmod's order", async () => {
    put("m/lib/modules/6.1.0-8/kernel/ext4.ko", module("ext4", 8));
    put("m/lib/modules/6.1.0-7/kernel/ext4.ko", module("ext4", 7));
    put("m/lib/modules/6.1.0-7/updates/ext4.ko", module("ext4", 6));
    const finder = files({ modulesFlag: join(root, "m") });
    const idOf = async (buildId: string | undefined) =>
      (await finder.modules([{ name: "ext4", buildId }], "6.1.0-7")).get("ext4")?.open().buildId;
    expect(await idOf(undefined)).toBe("06");
    expect(await idOf("07")).toBe("07");
    expect(await idOf("08")).toBe("08");
    expect(await idOf("99")).toBe("06");
  });

  it("are found through modules.dep, and without it", async () => {
    put("lib/modules/6.1.0-7/kernel/fs/ext4.ko", module("ext4"));
    put("lib/modules/6.1.0-7/kernel/fs/new.ko", module("new"));
    put("lib/modules/6.1.0-7/modules.dep", "kernel/fs/ext4.ko: kernel/fs/jbd2.ko\nkernel/fs/gone.ko:\n");
    const found = await files().modules([{ name: "ext4" }, { name: "new" }, { name: "gone" }], "6.1.0-7");
    expect([...found.keys()]).toEqual(["ext4", "new"]);
    expect(found.get("ext4")?.origin).toBe("system");
  });

  it("are found beside the dump", async () => {
    const dumpPath = put("case/vmcore", "dump");
    put("case/modules/loop.ko", module("loop"));
    const found = await files({ dumpPath }).modules([{ name: "loop" }], "6.1.0-7");
    expect(found.get("loop")?.origin).toBe("beside the dump");
  });

  it("may be one file, and must be something", async () => {
    const modulesFlag = put("dm-mod.ko", module("dm_mod"));
    expect((await files({ modulesFlag }).modules([{ name: "dm_mod" }], undefined)).size).toBe(1);
    await expect(files({ modulesFlag: join(root, "nosuch") }).modules([], undefined)).rejects.toThrow(
      "nosuch is missing; --modules takes a folder, a .ko, a .deb or an .rpm",
    );
  });
});

describe("listFolder", () => {
  it("stops at its bounds and follows no link to a folder", () => {
    put("t/a/b/c/deep.ko", "");
    put("t/top.ko", "");
    symlinkSync(join(root, "t"), join(root, "t/a/loop"));
    symlinkSync(join(root, "t/top.ko"), join(root, "t/a/link.ko"));
    const list = (depth: number, entries: number) => listFolder(join(root, "t"), { depth, entries });
    expect(list(9, 99).files.map((path) => path.slice(root.length))).toEqual([
      "/t/top.ko",
      "/t/a/link.ko",
      "/t/a/b/c/deep.ko",
    ]);
    expect(list(9, 99).truncated).toBe(false);
    expect(list(1, 99)).toMatchObject({ truncated: true, files: { length: 2 } });
    expect(list(9, 3).truncated).toBe(true);
    expect(() => listFolder(join(root, "nosuch"))).toThrow("ENOENT");
  });
});

describe("places", () => {
  it("does not let a dump's release lead out of the folder", () => {
    expect(imagePlaces("../../etc/passwd", undefined)).toEqual([]);
    expect(imagePlaces("6.1/..", undefined)).toEqual([]);
    expect(imagePlaces(undefined, "../../etc")).toEqual([]);
    expect(imagePlaces("6.12.117+deb13-amd64", undefined)[0]).toBe("/boot/vmlinuz-6.12.117+deb13-amd64");
  });

  it("knows image names", () => {
    const names = ["vmlinuz", "vmlinuz-6.1.0-7-amd64", "boot/vmlinux-3.0.1", "bzImage", "vmlinux.xz", "kernel-6.1"];
    expect(names.filter(isImageName)).toEqual(names);
    expect(
      [
        "vmlinux.h",
        "vmcore",
        "kernel.txt",
        "kernel.d.ts",
        "kernel.py",
        "vmlinuz.deb",
        "kernelshark",
        "initrd.img",
      ].filter(isImageName),
    ).toEqual([]);
  });

  it("ranks by release", () => {
    const ranks = ["boot/vmlinuz-7", "lib/modules/7/vmlinuz", "vmlinuz", "lib/modules/6.1/vmlinuz"];
    expect(ranks.map((path) => releaseRank(path, "7"))).toEqual([0, 1, 2, 4]);
  });
});
