// Prepares the decompressors for Node: the library itself may not read files or import node:zlib, so the .wasm of
// liblzma and the host's gunzip are handed in.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gunzipSync } from "node:zlib";
import { loadCodecs, setNativeGunzip, setXzWasm } from "../../core/src/bytes/decompress/index.ts";

/** Makes every codec but zstd available, at no cost until one is used. */
export function prepareSyncCodecs(): void {
  const require = createRequire(import.meta.url);
  setXzWasm(() => readFileSync(require.resolve("node-liblzma/wasm/liblzma.wasm")));
  setNativeGunzip((packed, limit) => gunzipSync(packed, { maxOutputLength: limit }));
}

/** Makes every codec available. zstd costs about 30 ms to start, so call this only when something needs it. */
export async function prepareCodecs(): Promise<void> {
  prepareSyncCodecs();
  await loadCodecs();
}
