// Where a changelog comes from: a changelog itself (packed or not), an upload's .changes, a source package's .dsc, or a
// binary package.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { detectCodec, unpackChunks } from "../../../core/src/bytes/decompress/index.ts";
import { ChunkReader } from "../../../core/src/image/packages/chunk-reader.ts";
import { openPackage } from "../../../core/src/image/packages/package.ts";
import { tarMembers } from "../../../core/src/image/packages/tar.ts";
import { prepareCodecs } from "../../../node/src/codecs.ts";
import { FileSource } from "../../../node/src/file-source.ts";
import { InvalidError } from "../errors.ts";
import { type ChangelogEntry, closesIn, controlFields, launchpadIn, parseChangelog } from "./changelog.ts";

const LARGEST = 64 << 20;

/** All entries, newest first. @throws InvalidError when the file holds no changelog */
export async function entriesOf(path: string): Promise<ChangelogEntry[]> {
  const name = basename(path);
  let entries: ChangelogEntry[];
  if (name.endsWith(".changes")) entries = changesEntries(readText(path));
  else if (name.endsWith(".dsc")) entries = parseChangelog(await sourceChangelog(path));
  else if (name.endsWith(".deb")) entries = parseChangelog(await binaryChangelog(path));
  else entries = parseChangelog(readText(path));
  if (entries.length === 0)
    throw new InvalidError("", `${path}: no changelog entry in it ("package (version) series; urgency=…")`);
  return entries;
}

function readText(path: string): string {
  return unpack(readFileSync(path), path);
}

function unpack(bytes: Uint8Array, path: string): string {
  const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes, { maxOutputLength: LARGEST }) : bytes;
  if (plain.length > LARGEST) throw new InvalidError("", `${path}: a changelog of ${plain.length} bytes`);
  return new TextDecoder().decode(plain);
}

/** An upload as one entry: its fields name the bugs, as dpkg derived them. */
function changesEntries(text: string): ChangelogEntry[] {
  const fields = controlFields(text);
  const source = (fields.get("source") ?? "").split(" ")[0]!;
  const version = fields.get("version") ?? "";
  if (source === "" || version === "") return [];
  const changes = (fields.get("changes") ?? "")
    .split("\n")
    .map((line) => (line === "." || line === " ." ? "" : line))
    .join("\n")
    .replace(/^\n+/, "");
  const numbers = (field: string, fallback: (text: string) => number[]): number[] => {
    const given = fields.get(field);
    return given === undefined
      ? fallback(changes)
      : (given.match(/\d+/g) ?? []).map(Number).filter(Number.isSafeInteger);
  };
  return [
    {
      source,
      version,
      distributions: (fields.get("distribution") ?? "").split(/\s+/).filter(Boolean),
      urgency: (fields.get("urgency") ?? "").toLowerCase(),
      text: changes,
      closes: numbers("closes", closesIn),
      // dpkg writes the field under Ubuntu alone; the changes tell the same.
      launchpad: numbers("launchpad-bugs-fixed", launchpadIn),
    },
  ];
}

/** debian/changelog out of the archive that the .dsc names, which lies beside it. */
async function sourceChangelog(path: string): Promise<string> {
  const fields = controlFields(readText(path));
  const files = [...(fields.get("files") ?? "").matchAll(/\S+\s+\d+\s+(\S+)/g)].map((match) => basename(match[1]!));
  const archive =
    files.find((file) => /\.debian\.tar\.\w+$/.test(file)) ??
    files.find((file) => /\.tar\.\w+$/.test(file) && !/\.orig/.test(file));
  if (archive === undefined) throw new InvalidError("", `${path}: names no archive with debian/changelog`);
  await prepareCodecs();
  const source = new FileSource(join(dirname(path), archive));
  try {
    const chunks = unpackChunks(detectCodec(source.read(0, Math.min(9, source.size))), source);
    for (const member of tarMembers(new ChunkReader(chunks, source.name))) {
      if (member.kind === "file" && /(^|\/)debian\/changelog$/.test(member.path) && member.size <= LARGEST) {
        return unpack(member.read(), member.path);
      }
    }
  } finally {
    source.close();
  }
  throw new InvalidError("", `${archive}: has no debian/changelog`);
}

async function binaryChangelog(path: string): Promise<string> {
  await prepareCodecs();
  const source = new FileSource(path);
  try {
    const wanted = /^usr\/share\/doc\/[^/]+\/changelog(\.Debian)?(\.\w+)?\.gz$/;
    const { files } = openPackage(source).read(({ path: member, size }) => wanted.test(member) && size <= LARGEST);
    const found = [...files].sort(([a], [b]) => Number(b.includes(".Debian")) - Number(a.includes(".Debian")))[0];
    if (found === undefined) {
      throw new InvalidError("", `${path}: has no changelog of its own (another package of its source may)`);
    }
    const [member, file] = found;
    return unpack(file.read(0, file.size), member);
  } finally {
    source.close();
  }
}

/** Files of a folder, at most some levels down, that can hold a changelog. */
export function changelogFiles(folder: string, depth = 6): string[] {
  const out: string[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && depth > 0) out.push(...changelogFiles(path, depth - 1));
    else if (/\.(changes|dsc|deb)$|(^|[._])changelog(\.Debian)?(\.gz)?$/.test(entry.name) && statSync(path).isFile())
      out.push(path);
  }
  return out.sort();
}
