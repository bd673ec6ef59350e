// Writes the "newc" cpio archive that the kernel unpacks as its initramfs (Documentation/driver-api/early-userspace/
// buffer-format.rst). Same input, same bytes: times, inode numbers and owners are fixed.

export interface CpioEntry {
  /** Path inside the archive, without a leading slash. */
  readonly path: string;
  /** File type and permission bits (C: st_mode): 0o100755 a program, 0o040755 a folder, 0o120777 a link. */
  readonly mode: number;
  /** The file's bytes, or the link's target. */
  readonly data?: Uint8Array;
}

const HEADER_BYTES = 110;
const TRAILER = "TRAILER!!!";

/** The archive of `entries`, in their order: a folder must come before what lies in it. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const chunks: Uint8Array[] = [];
  let inode = 1;
  for (const entry of entries) {
    if (entry.path.startsWith("/") || entry.path === "") throw new RangeError(`cpio: path "${entry.path}"`);
    chunks.push(...member(entry.path, inode++, entry.mode, entry.data ?? new Uint8Array()));
  }
  chunks.push(...member(TRAILER, 0, 0, new Uint8Array()));
  return Buffer.concat(chunks);
}

/** Header with name, then data, each filled up to a multiple of four bytes. */
function member(path: string, inode: number, mode: number, data: Uint8Array): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const links = mode >> 12 === 0o04 ? 2 : 1;
  // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((value) => value.toString(16).padStart(8, "0")).join("")}`);
  return [header, name, padding(HEADER_BYTES + name.length), data, padding(data.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}
