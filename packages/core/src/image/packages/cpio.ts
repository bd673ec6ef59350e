// cpio as rpm writes it: "newc" headers in hexadecimal text (cpio(5)).
import { FormatError, UnsupportedError } from "../../bytes/errors.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import { cleanPath, type OpenMember } from "./member.ts";

const HEADER = 110;
const NAME_MAX = 64 * 1024;
const TRAILER = "TRAILER!!!";
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const text = new TextDecoder();

/** Walks the members in order; a member's contents must be read before the next is asked for. */
export function* cpioMembers(reader: ChunkReader): Generator<OpenMember, void> {
  for (;;) {
    const at = reader.offset;
    const header = text.decode(reader.read(HEADER));
    const magic = header.slice(0, 6);
    // rpm's own form for files of 4 GiB and more: it leaves names and sizes to the package's header.
    if (magic === "07070X") throw new UnsupportedError(reader.where(at), "rpm's large-file cpio (07070X)");
    if (!/^07070[12][0-9A-Fa-f]{104}$/.test(header)) throw new FormatError(reader.where(at), "no cpio header");
    const field = (i: number) => Number.parseInt(header.slice(6 + 8 * i, 14 + 8 * i), 16);
    const mode = field(1);
    const size = field(6);
    const nameSize = field(11);
    if (nameSize === 0 || nameSize > NAME_MAX) throw new FormatError(reader.where(at), `name of ${nameSize} bytes`);
    const name = text.decode(reader.read(nameSize)).replace(/\0.*$/s, "");
    if (name === TRAILER) return;
    reader.skip((4 - ((HEADER + nameSize) % 4)) % 4);
    const end = reader.offset + Math.ceil(size / 4) * 4;
    const path = cleanPath(name);
    const kind = (mode & S_IFMT) === S_IFREG ? "file" : (mode & S_IFMT) === S_IFLNK ? "link" : "other";
    if (kind === "link" && size > NAME_MAX) throw new FormatError(reader.where(at), `link target of ${size} bytes`);
    const target = kind === "link" ? text.decode(reader.read(size)) : undefined;
    const where = `${reader.name}: ${path}`;
    yield {
      path,
      size: kind === "file" ? size : 0,
      kind,
      target,
      read: (limit) => reader.readMember(size, where, limit),
    };
    reader.skip(end - reader.offset);
  }
}
