// Opens what a distribution ships as "the kernel": a bzImage, a vmlinux, or a vmlinux packed by itself. The outcome
// is always the ELF file that was built, with the relocation table that lies behind it.
import { type CodecName, decompress, detectCodec } from "../bytes/decompress/index.ts";
import { isElf } from "../bytes/elf.ts";
import { FormatError, UnsupportedError } from "../bytes/errors.ts";
import { BufferSource, type ByteSource } from "../bytes/source.ts";
import { isBootImage, readBootHeader } from "./boot-header.ts";
import { checkHasCode, openElf } from "./elf-file.ts";
import { findBanner, readBuildId, releaseOf } from "./identity.ts";
import { readRelocations } from "./relocations.ts";
import type { KernelImage } from "./types.ts";

export interface OpenImageOptions {
  /** Most bytes that the unpacked kernel may have. Default 512 MiB. */
  readonly limit?: number;
}

/** A kernel out of its wrapping: ELF bytes with the relocation table still behind them. */
export interface UnpackedKernel {
  /** "vmlinux", "vmlinux (xz)", "bzImage (zstd)", "bzImage (not packed)" */
  readonly container: string;
  readonly elf: ByteSource;
  /** The boot header's version text, for a bzImage. */
  readonly version?: string;
  /** linux_banner, when it is already known; it is searched otherwise. */
  readonly banner?: string;
}

const ET_EXEC = 2;
const ET_DYN = 3;

/**
 * How the kernel in the file is packed; undefined when it is not, or is no kernel. Tells which codec to prepare.
 * @throws FormatError, UnsupportedError for a broken boot header
 */
export function kernelCodec(source: ByteSource): CodecName | undefined {
  if (!isBootImage(source)) return detectCodec(source.read(0, Math.min(9, source.size)));
  const { payloadOffset, payloadLength } = readBootHeader(source);
  return detectCodec(source.read(payloadOffset, Math.min(9, payloadLength)));
}

/**
 * Unwraps a bzImage or a packed vmlinux.
 * @throws FormatError, TruncatedError, UnsupportedError (neither of these), MissingError (codec not prepared)
 */
export function unpackKernel(source: ByteSource, options: OpenImageOptions = {}): UnpackedKernel {
  if (isElf(source)) return { container: "vmlinux", elf: source };
  if (isBootImage(source)) return unpackBootImage(source, options);
  const codec = detectCodec(source.read(0, Math.min(9, source.size)));
  if (codec === undefined) {
    throw new UnsupportedError(source.name, "a file that is neither a bzImage nor an ELF vmlinux, packed or not,");
  }
  const elf = unpackElf(source.read(0, source.size), codec, source.name, undefined, options);
  return { container: `vmlinux (${codec})`, elf };
}

function unpackBootImage(source: ByteSource, options: OpenImageOptions): UnpackedKernel {
  const header = readBootHeader(source);
  const payload = source.read(header.payloadOffset, header.payloadLength);
  const name = `${source.name}: payload`;
  const { version } = header;
  const plain = new BufferSource(`${source.name}: vmlinux`, payload);
  if (isElf(plain)) return { container: "bzImage (not packed)", elf: plain, version };
  const codec = detectCodec(payload.subarray(0, 9));
  if (codec === undefined) {
    const magic = Array.from(payload.subarray(0, 6), (b) => b.toString(16).padStart(2, "0")).join(" ");
    throw new UnsupportedError(name, `the compression with magic ${magic}`);
  }
  // The build appends the unpacked size as a u32 (size_append in scripts/Makefile.lib); gzip ends in one by itself.
  const sizeAt = payload.length - 4;
  const sizeHint =
    sizeAt > 0 ? new DataView(payload.buffer, payload.byteOffset + sizeAt, 4).getUint32(0, true) : undefined;
  const packed = codec === "gzip" ? payload : payload.subarray(0, sizeAt);
  return { container: `bzImage (${codec})`, elf: unpackElf(packed, codec, name, sizeHint, options), version };
}

function unpackElf(
  packed: Uint8Array,
  codec: CodecName,
  name: string,
  sizeHint: number | undefined,
  options: OpenImageOptions,
): ByteSource {
  const elf = new BufferSource(`${name}: vmlinux`, decompress(codec, packed, { name, sizeHint, limit: options.limit }));
  if (!isElf(elf)) throw new FormatError(elf.name, `the ${codec} data unpacks to something that is no ELF file`);
  return elf;
}

/**
 * Opens a kernel image: bzImage with an xz, zstd, gzip, lz4, lzo, bzip2 or lzma payload, or an ELF vmlinux, bare or
 * packed. zstd needs loadCodecs() before, xz needs setXzWasm().
 * @throws FormatError, TruncatedError, UnsupportedError, MissingError
 */
export function openKernelImage(source: ByteSource, options: OpenImageOptions = {}): KernelImage {
  return kernelImageOf(source.name, unpackKernel(source, options));
}

/** The KernelImage over an unpacked kernel, as it comes from unpackKernel or from a cache of such. */
export function kernelImageOf(path: string, unpacked: UnpackedKernel): KernelImage {
  const elf = openElf(unpacked.elf);
  if (elf.header.type !== ET_EXEC && elf.header.type !== ET_DYN) {
    throw new FormatError(`${unpacked.elf.name}: ELF header+0x10`, `type ${elf.header.type} is no kernel's (2 or 3)`);
  }
  checkHasCode(elf);
  const relocations = readRelocations(elf);
  const version = unpacked.banner ?? findBanner(elf);
  return {
    path,
    container: unpacked.container,
    elf,
    relocations: relocations.table,
    relocationProblem: relocations.problem,
    buildId: readBuildId(elf),
    release: releaseOf(version) ?? releaseOf(unpacked.version),
    version,
  };
}
