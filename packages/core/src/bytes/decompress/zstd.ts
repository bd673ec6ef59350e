// zstd through zstddec's WebAssembly: three times as fast as the JavaScript decoders. It unpacks one frame into a
// buffer of known size, so frames are walked first. Starting it is asynchronous, hence loadZstd().
import type { ZSTDDecoder } from "zstddec/stream";
import { FormatError, MissingError, TruncatedError } from "../errors.ts";
import type { ByteSource } from "../source.ts";
import { type DecompressOptions, OutputBuffer } from "./output.ts";
import { readZstdFrame, type ZstdFrame } from "./zstd-frame.ts";

let decoder: ZSTDDecoder | undefined;

/** Starts the decoder (about 30 ms). Needed once before anything packed with zstd is opened. */
export async function loadZstd(): Promise<void> {
  if (decoder !== undefined) return;
  const { ZSTDDecoder } = await import("zstddec/stream");
  const starting = new ZSTDDecoder();
  await starting.init();
  decoder = starting;
}

function started(): ZSTDDecoder {
  if (decoder === undefined) throw new MissingError("the zstd decompressor", "await loadCodecs() starts it");
  return decoder;
}

/** Unpacks the zstd frames at the start of `packed`; what follows the last frame is left alone. */
export function decompressZstd(packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const zstd = started();
  const { name } = options;
  let out: OutputBuffer | undefined;
  let single: Uint8Array | undefined;
  let at = 0;
  for (;;) {
    const frame = readZstdFrame(packed.subarray(at), name);
    if (frame === undefined) break;
    if (!frame.skippable && frame.bound > 0) {
      const bytes = decodeFrame(zstd, packed.subarray(at, at + frame.packedLength), frame, options);
      if (single === undefined) {
        single = bytes; // the usual case: no second copy
      } else {
        if (out === undefined) {
          out = new OutputBuffer(options, packed.length);
          out.append(single);
        }
        out.append(bytes);
      }
    }
    at += frame.packedLength;
  }
  if (at === 0) throw new FormatError(name, "no zstd frame");
  return out?.finish() ?? single ?? new Uint8Array();
}

function decodeFrame(zstd: ZSTDDecoder, packed: Uint8Array, frame: ZstdFrame, options: DecompressOptions): Uint8Array {
  const limit = new OutputBuffer(options, 0).limit;
  // Blocks are often smaller than they may be, so the bound is several times the truth: try the claims first.
  const claims = [frame.contentSize, options.sizeHint].filter((n) => n !== undefined && n > 0 && n <= frame.bound);
  for (const capacity of [...claims, frame.bound]) {
    if (capacity === undefined) continue;
    const bytes = zstd.decode(packed, Math.min(capacity, limit));
    if (bytes.length > 0) return bytes;
  }
  if (frame.contentSize === 0) return new Uint8Array();
  throw new FormatError(
    options.name,
    frame.bound > limit ? `broken zstd data, or it unpacks to more than ${limit} bytes` : "broken zstd data",
  );
}

const INPUT_STEP = 1024 * 1024;
/** Calls that bring no output are few between two blocks; the package loops for ever over broken data. */
const IDLE_MAX = 64;

/** The same piece by piece, for what is too large to be held. */
export function* zstdChunks(packed: ByteSource): Generator<Uint8Array, void> {
  let idle = 0;
  try {
    for (const chunk of started().decodeStreaming(pieces(packed))) {
      if (chunk.length > 0) {
        idle = 0;
        yield chunk;
      } else if (++idle > IDLE_MAX) {
        throw new FormatError(packed.name, "broken zstd data");
      }
    }
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("Incomplete stream")) throw error;
    throw new TruncatedError(`${packed.name}: zstd stream`, packed.size + 1, packed.size);
  }
}

function* pieces(packed: ByteSource): Generator<Uint8Array, void> {
  for (let at = 0; at < packed.size; at += INPUT_STEP) yield packed.read(at, Math.min(INPUT_STEP, packed.size - at));
}
