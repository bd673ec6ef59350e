// A file's identity for the cache: SHA-256 of all its bytes, so that nothing else (a name, a date) is trusted.
import { createHash } from "node:crypto";
import type { ByteSource } from "../../core/src/bytes/source.ts";

const STEP = 4 * 1024 * 1024;

/** Hex. 14 MB of vmlinuz cost about 15 ms. */
export function digestOf(source: ByteSource): string {
  const hash = createHash("sha256");
  for (let at = 0; at < source.size; at += STEP) hash.update(source.read(at, Math.min(STEP, source.size - at)));
  return hash.digest("hex");
}
