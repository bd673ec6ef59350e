// The setup header of a bzImage (Documentation/arch/x86/boot.rst): where the packed kernel lies in the file and
// what the image calls itself.
import { Cursor } from "../bytes/cursor.ts";
import { FormatError, UnsupportedError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";

export interface BootHeader {
  /** 0x20f for protocol 2.15 */
  readonly protocol: number;
  /** File offset and bytes of the packed kernel. */
  readonly payloadOffset: number;
  readonly payloadLength: number;
  /** "6.1.0-56-amd64 (builder@host) #1 SMP …", when the header points at one. */
  readonly version?: string;
}

const HDRS = 0x53726448;
const SECTOR = 512;

/** True when the file has the boot sector mark and the "HdrS" magic of a Linux x86 boot image. */
export function isBootImage(source: ByteSource): boolean {
  if (source.size < 0x264) return false;
  const c = new Cursor(source.read(0x1fe, 8), source.name);
  return c.u16() === 0xaa55 && c.skip(2).u32() === HDRS;
}

/**
 * Reads the setup header.
 * @throws UnsupportedError before protocol 2.08 (Linux 2.6.26), which does not say where the payload lies
 * @throws FormatError when the payload does not lie in the file
 */
export function readBootHeader(source: ByteSource): BootHeader {
  const c = new Cursor(source.read(0, 0x264), `${source.name}: setup header`);
  const setupSectors = c.seek(0x1f1).u8() || 4; // 0 means 4, for very old loaders
  const protocol = c.seek(0x206).u16();
  const versionOffset = c.seek(0x20e).u16();
  if (protocol < 0x208) {
    throw new UnsupportedError(c.where(0x206), `boot protocol ${protocol >> 8}.${protocol & 0xff} (2.8 and later are)`);
  }
  const start = (setupSectors + 1) * SECTOR;
  const payloadOffset = start + c.seek(0x248).u32();
  const payloadLength = c.u32();
  if (payloadLength === 0 || payloadOffset + payloadLength > source.size) {
    throw new FormatError(
      c.where(0x248),
      `payload [0x${payloadOffset.toString(16)}, +0x${payloadLength.toString(16)}) lies outside the file of ${source.size} bytes`,
    );
  }
  return { protocol, payloadOffset, payloadLength, version: readVersion(source, versionOffset, start) };
}

function readVersion(source: ByteSource, pointer: number, setupEnd: number): string | undefined {
  const offset = pointer + 0x200;
  if (pointer === 0 || offset >= setupEnd || offset >= source.size) return undefined;
  const length = Math.min(512, setupEnd - offset, source.size - offset);
  const text = new Cursor(source.read(offset, length), source.name).text(length);
  return /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}
