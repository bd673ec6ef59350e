// Prepares the decompressors for Node: the library itself may not read files, so the .wasm of liblzma is handed in.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { loadCodecs, setXzWasm } from "../../bytes/decompress/index.ts";

/** Makes xz available at no cost until it is used. Synchronous; enough unless something is packed with zstd. */
export function prepareXz(): void {
  const require = createRequire(import.meta.url);
  setXzWasm(() => readFileSync(require.resolve("node-liblzma/wasm/liblzma.wasm")));
}

/** Makes every codec available. zstd costs about 30 ms to start, so call this only when something needs it. */
export async function prepareCodecs(): Promise<void> {
  prepareXz();
  await loadCodecs();
}
