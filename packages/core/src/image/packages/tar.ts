// tar as dpkg-deb writes it: ustar headers, GNU long names, pax paths.
import { FormatError } from "../../bytes/errors.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import { cleanPath, type OpenMember, type PackageMember } from "./member.ts";

const BLOCK = 512;
const LONG_NAME_MAX = 64 * 1024;
const latin1 = new TextDecoder("latin1");
const utf8 = new TextDecoder();

/** Walks the members in order; a member's contents must be read before the next is asked for. */
export function* tarMembers(reader: ChunkReader): Generator<OpenMember, void> {
  let longName: string | undefined;
  let longTarget: string | undefined;
  for (;;) {
    if (reader.atEnd()) return;
    const at = reader.offset;
    const header = reader.read(BLOCK);
    if (header.every((byte) => byte === 0)) return;
    if (latin1.decode(header.subarray(257, 262)) !== "ustar") {
      throw new FormatError(reader.where(at), "no tar header");
    }
    const size = readNumber(header.subarray(124, 136), reader.where(at + 124));
    const type = String.fromCharCode(header[156]);
    const end = reader.offset + Math.ceil(size / BLOCK) * BLOCK;
    if (type === "L" || type === "K" || type === "x") {
      if (size > LONG_NAME_MAX) throw new FormatError(reader.where(at), `name of ${size} bytes`);
      const text = reader.read(size);
      if (type === "L") longName = untilNul(text);
      else if (type === "K") longTarget = untilNul(text);
      else ({ path: longName = longName, linkpath: longTarget = longTarget } = readPax(text));
    } else {
      const prefix = untilNul(header.subarray(345, 500));
      const short = untilNul(header.subarray(0, 100));
      const isGnu = header[262] === 0x20; // "ustar  \0": the prefix field then holds times
      const path = cleanPath(longName ?? (prefix && !isGnu ? `${prefix}/${short}` : short));
      const target = longTarget ?? untilNul(header.subarray(157, 257));
      longName = undefined;
      longTarget = undefined;
      let member: PackageMember = { path, size, kind: "other" };
      if (type === "0" || type === "\0") member = { path, size, kind: "file" };
      // A hard link names a path from the archive's root.
      else if (type === "1") member = { path, size: 0, kind: "link", target: `/${cleanPath(target)}` };
      else if (type === "2") member = { path, size: 0, kind: "link", target };
      yield { ...member, read: (limit) => reader.readMember(size, `${reader.name}: ${path}`, limit) };
    }
    reader.skip(end - reader.offset);
  }
}

function untilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return utf8.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Octal text, or big-endian base 256 when the top bit is set (GNU, for 8 GiB and more). */
function readNumber(field: Uint8Array, where: string): number {
  let value = 0;
  if (field[0] & 0x80) {
    for (let i = 1; i < field.length; i++) value = value * 256 + field[i];
  } else {
    const text = latin1
      .decode(field)
      .replace(/[\0 ]+$/, "")
      .trimStart();
    value = text === "" ? 0 : /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
  }
  if (!(value <= Number.MAX_SAFE_INTEGER)) throw new FormatError(where, "no tar size");
  return value;
}

/** "LENGTH key=value\n" records. */
function readPax(bytes: Uint8Array): { path?: string; linkpath?: string } {
  const found: { path?: string; linkpath?: string } = {};
  let at = 0;
  while (at < bytes.length) {
    const length = Number.parseInt(latin1.decode(bytes.subarray(at, at + 8)), 10);
    if (!(length > 0) || at + length > bytes.length) break;
    const match = /^\d+ (path|linkpath)=(.*)\n$/s.exec(utf8.decode(bytes.subarray(at, at + length)));
    if (match !== null) found[match[1] as "path" | "linkpath"] = match[2];
    at += length;
  }
  return found;
}
