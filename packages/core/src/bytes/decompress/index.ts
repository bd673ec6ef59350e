// The list of what can be unpacked, by magic: payloads of a bzImage, compressed modules and members of packages.
import { UnsupportedError } from "../errors.ts";
import type { ByteSource } from "../source.ts";
import { decompressBzip2 } from "./bzip2.ts";
import { decompressGzip, gzipChunks } from "./gzip.ts";
import { decompressLz4Legacy } from "./lz4.ts";
import { decompressLzo } from "./lzo.ts";
import type { DecompressOptions } from "./output.ts";
import { decompressXz, xzChunks } from "./xz.ts";
import { decompressZstd, loadZstd, zstdChunks } from "./zstd.ts";

export { type NativeGunzip, setNativeGunzip } from "./gzip.ts";
export type { DecompressOptions } from "./output.ts";
export { DEFAULT_LIMIT } from "./output.ts";
export { setXzWasm } from "./xz.ts";

export type CodecName = "xz" | "zstd" | "gzip" | "lz4" | "lzo" | "bzip2" | "lzma";

const STEP = 1024 * 1024;

interface Codec {
  readonly name: CodecName;
  readonly magic: readonly number[];
  readonly decompress: (packed: Uint8Array, options: DecompressOptions) => Uint8Array;
}

const codecs: readonly Codec[] = [
  { name: "xz", magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], decompress: decompressXz },
  { name: "zstd", magic: [0x28, 0xb5, 0x2f, 0xfd], decompress: decompressZstd },
  { name: "gzip", magic: [0x1f, 0x8b, 0x08], decompress: decompressGzip },
  { name: "lz4", magic: [0x02, 0x21, 0x4c, 0x18], decompress: decompressLz4Legacy },
  { name: "lzo", magic: [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a], decompress: decompressLzo },
  { name: "bzip2", magic: [0x42, 0x5a, 0x68], decompress: decompressBzip2 },
  // .lzma has no magic of its own: the default properties byte and a dictionary size whose low half is zero
  { name: "lzma", magic: [0x5d, 0x00, 0x00], decompress: decompressXz },
];

/** Which codec packed the data that starts with `head` (9 bytes suffice); undefined when none did. */
export function detectCodec(head: Uint8Array): CodecName | undefined {
  return codecs.find(({ magic }) => magic.every((byte, i) => head[i] === byte))?.name;
}

/**
 * Unpacks the stream at the start of `packed`; bytes behind the stream are left alone.
 * @throws FormatError (broken data, or more than the limit), TruncatedError, UnsupportedError, MissingError (the
 *   codec was not prepared: loadCodecs, setXzWasm)
 */
export function decompress(codec: CodecName, packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const found = codecs.find(({ name }) => name === codec);
  if (found === undefined) throw new UnsupportedError(options.name, `compression ${codec}`);
  return found.decompress(packed, options);
}

/**
 * The unpacked stream piece by piece, for archives that are too large to be held. A chunk is lent until the next is
 * asked for. Codecs that cannot do so unpack at once, up to the usual limit.
 * @param codec undefined when the source is not packed
 */
export function* unpackChunks(codec: CodecName | undefined, packed: ByteSource): Generator<Uint8Array, void> {
  if (codec === "xz" || codec === "lzma") yield* xzChunks(packed);
  else if (codec === "zstd") yield* zstdChunks(packed);
  else if (codec === "gzip") yield* gzipChunks(packed);
  else if (codec !== undefined) yield decompress(codec, packed.read(0, packed.size), { name: packed.name });
  else for (let at = 0; at < packed.size; at += STEP) yield packed.read(at, Math.min(STEP, packed.size - at));
}

/** Starts the codecs whose start is asynchronous. Call once before opening files that may be packed with zstd. */
export async function loadCodecs(): Promise<void> {
  await loadZstd();
}
