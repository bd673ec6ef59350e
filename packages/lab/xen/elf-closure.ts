// Which files of an unpacked package tree a program needs to run: itself, its loader and the shared libraries that it
// and they ask for (DT_NEEDED). dom0 then has 100 files of the 10,000 that its packages hold.
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { LabError } from "../errors.ts";

const DT_NEEDED = 1;
const PT_INTERP = 3;
const PT_DYNAMIC = 2;
const PT_LOAD = 1;
const DT_STRTAB = 5;

/** Sonames and loader that an ELF64 file names; undefined for what is no ELF file. */
export function elfNeeds(bytes: Uint8Array): { needed: string[]; loader: string | undefined } | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2) return undefined;
  const text = (offset: number) => file.toString("latin1", offset, file.indexOf(0, offset));
  const at = Number(file.readBigUInt64LE(0x20));
  const segments = Array.from({ length: file.readUInt16LE(0x38) }, (_, i) => {
    const header = at + i * file.readUInt16LE(0x36);
    const field = (offset: number) => Number(file.readBigUInt64LE(header + offset));
    return { type: file.readUInt32LE(header), offset: field(8), address: field(16), bytes: field(32) };
  });
  const interp = segments.find(({ type }) => type === PT_INTERP);
  const loader = interp && text(interp.offset);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (!dynamic) return { needed: [], loader };
  const entries = Array.from({ length: Math.floor(dynamic.bytes / 16) }, (_, i) => ({
    tag: Number(file.readBigUInt64LE(dynamic.offset + i * 16)),
    value: Number(file.readBigUInt64LE(dynamic.offset + i * 16 + 8)),
  }));
  const table = entries.find(({ tag }) => tag === DT_STRTAB)?.value;
  const holder = segments.find(
    ({ type, address, bytes: size }) =>
      type === PT_LOAD && table !== undefined && table >= address && table < address + size,
  );
  if (table === undefined || !holder) return { needed: [], loader };
  const strings = table - holder.address + holder.offset;
  const needed = entries.filter(({ tag }) => tag === DT_NEEDED).map(({ value }) => text(strings + value));
  return { needed, loader };
}

/** Follows the symbolic links of `path` inside `tree`; absolute ones start at the tree's root. */
export function resolveInTree(tree: string, path: string): string {
  let current = normalize(`/${path}`);
  for (let hops = 0; hops < 20; hops++) {
    const parts = current.split("/").filter((part) => part !== "");
    let prefix = "";
    let moved: string | undefined;
    for (const [i, part] of parts.entries()) {
      prefix = `${prefix}/${part}`;
      if (!lstatSync(join(tree, prefix), { throwIfNoEntry: false })?.isSymbolicLink()) continue;
      const target = readlinkSync(join(tree, prefix));
      const base = target.startsWith("/") ? target : join(dirname(prefix), target);
      moved = normalize(join(base, ...parts.slice(i + 1)));
      break;
    }
    if (moved === undefined) return current.slice(1);
    current = moved;
  }
  throw new LabError(`${path}: its symbolic links lead nowhere`);
}

/**
 * Files of `tree` for `programs` (paths in it without a leading slash), as name in the image → path in the tree.
 * Libraries keep their soname under usr/lib/x86_64-linux-gnu, programs and the loader their path.
 * @throws LabError naming the library that no package brought, and the program that wants it
 */
export function closure(tree: string, programs: readonly string[]): Map<string, string> {
  const libraries = new Map<string, string>();
  for (const path of readdirSync(tree, { recursive: true, encoding: "utf8" })) {
    const name = basename(path);
    if (/^(lib|ld-).*\.so(\.|$)/.test(name) && !libraries.has(name)) libraries.set(name, path);
  }
  const files = new Map<string, string>();
  const visit = (target: string, path: string, wantedBy: string): void => {
    if (files.has(target)) return;
    const real = resolveInTree(tree, path);
    if (!existsSync(join(tree, real))) throw new LabError(`${path}, which ${wantedBy} needs, is in no package`);
    files.set(target, join(tree, real));
    const needs = elfNeeds(readFileSync(join(tree, real)));
    if (needs?.loader) visit(needs.loader.replace(/^\//, ""), needs.loader, target);
    for (const soname of needs?.needed ?? []) {
      const library = libraries.get(soname);
      if (!library) throw new LabError(`${soname}, which ${target} needs, is in no package`);
      visit(`usr/lib/x86_64-linux-gnu/${soname}`, library, target);
    }
  };
  for (const program of programs) visit(program, program, "dom0");
  return files;
}
