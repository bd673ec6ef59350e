// The cache in folders of its own: what comes back, what is not believed, what is dropped.
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { BlobCache } from "./blob-cache.ts";

let folder: string;
const notes: string[] = [];
const cacheOf = (limit?: number) => new BlobCache({ folder, limit, note: (text) => notes.push(text) });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "palimpsest-cache-"));
  notes.length = 0;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** 700 KB: random-looking ends, zeros in the middle. */
const content = new Uint8Array(700_000);
for (let i = 0; i < 1000; i++) content[i] = content[content.length - 1 - i] = (i * i) >> 3;
const source = new BufferSource("vmlinux", content);

describe("BlobCache", () => {
  it("gives back bytes and facts", () => {
    cacheOf().put("key-1", source, { container: "bzImage (xz)", banner: undefined });
    const blob = cacheOf().get("key-1", "vmlinuz: vmlinux");
    expect(blob?.facts).toEqual({ container: "bzImage (xz)" });
    expect(blob?.bytes.name).toBe("vmlinuz: vmlinux");
    expect(blob?.bytes.size).toBe(content.length);
    expect(Buffer.compare(blob!.bytes.read(0, content.length), content)).toBe(0);
  });

  it("keeps nothing, not even an empty entry, for what is not there", () => {
    expect(cacheOf().get("nosuch", "x")).toBeUndefined();
    cacheOf().put("empty", new BufferSource("x", new Uint8Array()), {});
    expect(cacheOf().get("empty", "x")?.bytes.size).toBe(0);
  });

  const damages: readonly [string, (path: string) => void][] = [
    ["a byte of the data changed", (path) => change(path, 4096 + 17)],
    ["a byte in a hole changed", (path) => change(path, 4096 + 400_000)],
    ["the last byte changed", (path) => change(path, -1)],
    ["the description changed", (path) => change(path, 60)],
    ["the magic changed", (path) => change(path, 0)],
    ["the end was cut off", (path) => truncateSync(path, 300_000)],
    ["nothing is left", (path) => truncateSync(path, 0)],
    [
      "it is another entry's file",
      (path) => cacheOf().put("key-2", source, {}) ?? writeFileSync(path, readFileSync(join(folder, "key-2"))),
    ],
  ];
  it.each(damages)("does not believe an entry when %s, and drops it", (_, damage) => {
    cacheOf().put("key-1", source, {});
    damage(join(folder, "key-1"));
    expect(cacheOf().get("key-1", "x")).toBeUndefined();
    expect(readdirSync(folder)).not.toContain("key-1");
    cacheOf().put("key-1", source, {});
    expect(cacheOf().get("key-1", "x")).toBeDefined();
  });

  it("drops the longest unused beyond the limit", () => {
    const cache = cacheOf(2_500_000);
    const noise = new BufferSource(
      "x",
      content.map((_, i) => (Math.imul(i, 0x9e3779b1) >>> 24) | 1),
    );
    for (const [age, key] of ["a", "b", "c"].entries()) {
      cache.put(key, noise, {});
      utimesSync(join(folder, key), 1000 + age, 1000 + age);
    }
    expect(cache.get("a", "x")).toBeDefined(); // used just now
    cache.put("d", noise, {});
    expect(readdirSync(folder).sort()).toEqual(["a", "c", "d"]);
  });

  it("clears what a writer that died has left, and leaves one at work alone", () => {
    writeFileSync(join(folder, "old.tmp"), "x");
    utimesSync(join(folder, "old.tmp"), 1000, 1000);
    writeFileSync(join(folder, "new.tmp"), "x");
    cacheOf().put("key-1", source, {});
    expect(readdirSync(folder).sort()).toEqual(["key-1", "new.tmp"]);
  });

  it("notes once that it cannot write, and goes on", () => {
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "a file where the folder should be");
    const cache = cacheOf();
    cache.put("key-1", source, {});
    cache.put("key-2", source, {});
    expect(cache.get("key-1", "x")).toBeUndefined();
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(`nothing is kept in ${folder}: `);
  });

  it("believes nothing that another user could have written", () => {
    cacheOf().put("key-1", source, {});
    chmodSync(join(folder, "key-1"), 0o666);
    expect(cacheOf().get("key-1", "x")).toBeUndefined();
    chmodSync(join(folder, "key-1"), 0o600);
    expect(cacheOf().get("key-1", "x")).toBeDefined();
    chmodSync(folder, 0o777);
    const cache = cacheOf();
    expect(cache.get("key-1", "x")).toBeUndefined();
    cache.put("key-2", source, {});
    expect(readdirSync(folder)).toEqual(["key-1"]);
    expect(notes).toEqual([expect.stringContaining(`${folder} belongs to another user, or others may write to it`)]);
    chmodSync(folder, 0o700);
    symlinkSync(join(folder, "key-1"), join(folder, "key-3"));
    expect(cacheOf().get("key-3", "x")).toBeUndefined();
  });

  it.runIf(process.getuid?.() === 0)("nor what another user owns", () => {
    cacheOf().put("key-1", source, {});
    chownSync(join(folder, "key-1"), 12345, 12345);
    expect(cacheOf().get("key-1", "x")).toBeUndefined();
    chownSync(folder, 12345, 12345);
    cacheOf().put("key-2", source, {});
    expect(readdirSync(folder)).toEqual(["key-1"]);
  });

  it("leaves no temporary file when an entry cannot take its place", () => {
    mkdirSync(join(folder, "key-1"));
    writeFileSync(join(folder, "key-1", "x"), "x");
    cacheOf().put("key-1", source, {});
    expect(readdirSync(folder)).toEqual(["key-1"]);
    expect(notes).toHaveLength(1);
  });
});

function change(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at < 0 ? bytes.length + at : at] ^= 0x20;
  writeFileSync(path, bytes);
}
