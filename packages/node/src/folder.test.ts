// Folders as people have them: trees of links, loops, links out of the tree.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, expect, test } from "vitest";
import { listFolder } from "./folder.ts";

const root = mkdtempSync(join(tmpdir(), "palimpsest-folder-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const store = join(root, "store");
const tree = join(root, "tree");
for (const path of [join(store, "fs"), tree]) mkdirSync(path, { recursive: true });
writeFileSync(join(store, "fs", "ext4.ko"), "x");
writeFileSync(join(store, "loop.ko"), "x");

const listed = (folder: string): string[] =>
  listFolder(folder)
    .files.map((file) => relative(folder, file))
    .sort();

test("a tree of links to folders is followed", () => {
  symlinkSync(join(store, "fs"), join(tree, "fs"));
  symlinkSync(join(store, "loop.ko"), join(tree, "loop.ko"));
  expect(listed(tree)).toEqual(["fs/ext4.ko", "loop.ko"]);
});

test("each folder once: two links to one, a link to a folder above", () => {
  symlinkSync(join(store, "fs"), join(tree, "again"));
  symlinkSync(tree, join(tree, "up"));
  symlinkSync(join(tree, "self"), join(tree, "self"));
  const { files, truncated } = listFolder(tree);
  expect(files.map((file) => relative(tree, file)).filter((file) => file.endsWith("ext4.ko"))).toHaveLength(1);
  expect(truncated).toBe(false);
});

test("the bounds are told", () => {
  expect(listFolder(store, { depth: 0, entries: 100 })).toEqual({ files: [join(store, "loop.ko")], truncated: true });
  expect(listFolder(store, { depth: 16, entries: 1 }).truncated).toBe(true);
});
