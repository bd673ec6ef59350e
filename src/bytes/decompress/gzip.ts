// gzip through pako, which checks the CRC, runs in Node and browsers, and stops where the member ends: a bzImage
// and a signed module both have bytes behind it.
import { Inflate } from "pako";
import { FormatError, TruncatedError } from "../errors.ts";
import { type DecompressOptions, OutputBuffer } from "./output.ts";

const STEP = 256 * 1024;

/** Unpacks the gzip member at the start of `packed`; bytes behind it are left alone. */
export function decompressGzip(packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const out = new OutputBuffer(options, packed.length);
  const inflate = new Inflate({ chunkSize: STEP });
  inflate.onData = (chunk: Uint8Array | string) => {
    if (typeof chunk !== "string") out.append(chunk);
  };
  for (let at = 0; at < packed.length && !inflate.ended; at += STEP) {
    inflate.push(packed.subarray(at, at + STEP), false);
    if (inflate.err !== 0 && !inflate.ended) break;
  }
  if (inflate.err !== 0) throw new FormatError(options.name, `broken gzip data (${inflate.msg || inflate.err})`);
  if (!inflate.ended) throw new TruncatedError(`${options.name}: gzip member`, packed.length + 1, packed.length);
  return out.finish();
}
