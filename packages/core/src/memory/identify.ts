// What a file is by its first bytes: which reader to take, or, when it is no dump, what to tell the user that it is.
import { TruncatedError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";

/** Dump formats that are told by magic. */
export type DumpKind = "elf" | "kdump" | "flattened" | "lime" | "avml" | "diskdump" | "windows";

const MAGIC_LENGTH = 16;

interface Magic {
  readonly bytes: string;
  readonly at?: number;
}

const DUMPS: readonly (Magic & { kind: DumpKind })[] = [
  { kind: "elf", bytes: "\x7fELF" },
  { kind: "kdump", bytes: "KDUMP   " },
  { kind: "diskdump", bytes: "DISKDUMP" },
  { kind: "flattened", bytes: "makedumpfile\0" },
  // {u32 magic, u32 version} of a range header: LiME's, which AVML writes too, and AVML's own for snappy-compressed ranges.
  { kind: "lime", bytes: "EMiL" },
  { kind: "avml", bytes: "AVML" },
  { kind: "windows", bytes: "PAGEDU64" },
];

const OTHERS: readonly (Magic & { what: string })[] = [
  { what: "a Linux kernel image (bzImage), not a dump of its memory", bytes: "HdrS", at: 0x202 },
  { what: "zstd-compressed data; unpack it first", bytes: "\x28\xb5\x2f\xfd" },
  { what: "xz-compressed data; unpack it first", bytes: "\xfd7zXZ\0" },
  { what: "gzip-compressed data; unpack it first", bytes: "\x1f\x8b" },
  { what: "bzip2-compressed data; unpack it first", bytes: "BZh" },
  { what: "lz4-compressed data; unpack it first", bytes: "\x04\x22\x4d\x18" },
  { what: "a zip archive", bytes: "PK\x03\x04" },
  { what: "a Debian package or ar archive", bytes: "!<arch>\n" },
  { what: "an RPM package", bytes: "\xed\xab\xee\xdb" },
  { what: "a tar archive", bytes: "ustar", at: 257 },
  { what: "a qcow2 disk image", bytes: "QFI\xfb" },
  { what: "a VMDK disk image", bytes: "KDMV" },
  {
    what: "a QEMU or libvirt save file, not a dump (use dump-guest-memory or virsh dump --memory-only)",
    bytes: "QEVM",
  },
  {
    what: "a libvirt save file, not a dump (use virsh dump --memory-only)",
    bytes: "LibvirtQemudSave",
  },
  { what: "a Xen save file, not a dump (use xl dump-core)", bytes: "XenSavedDomain" },
  { what: "a Windows program", bytes: "MZ" },
  { what: "JSON or a script, not a dump", bytes: "{" },
  { what: "a script, not a dump", bytes: "#!" },
];

/** The dump format that the magic tells, undefined when it tells none. */
export function dumpKind(source: ByteSource): DumpKind | undefined {
  const head = source.read(0, Math.min(MAGIC_LENGTH, source.size));
  return DUMPS.find((magic) => matches(head, magic))?.kind;
}

/** Whether the first bytes are those of a file that is known to be no dump. */
export function hasKnownMagic(source: ByteSource): boolean {
  if (source.size === 0) return false;
  const head = start(source);
  return OTHERS.some((magic) => matches(head, magic));
}

/** Says in plain words what a file that is no known dump looks like. */
export function describeFile(source: ByteSource): string {
  if (source.size === 0) return "an empty file";
  const head = start(source);
  const known = OTHERS.find((magic) => matches(head, magic));
  if (known !== undefined) return known.what;
  if (head.every((byte) => byte === 0)) return `a file that starts with ${head.length} zero bytes`;
  if (head.every((byte) => (byte >= 32 && byte < 127) || byte === 9 || byte === 10 || byte === 13))
    return "a text file";
  const first = Array.from(head.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `a file of an unknown kind (it starts with ${first})`;
}

function start(source: ByteSource): Uint8Array {
  try {
    return source.read(0, Math.min(1024, source.size));
  } catch (error) {
    if (!(error instanceof TruncatedError)) throw error;
    return source.read(0, Math.min(MAGIC_LENGTH, source.size)); // the first record of a flattened file may be short
  }
}

function matches(head: Uint8Array, { bytes, at = 0 }: Magic): boolean {
  for (let i = 0; i < bytes.length; i++) if (head[at + i] !== bytes.charCodeAt(i)) return false;
  return true;
}
