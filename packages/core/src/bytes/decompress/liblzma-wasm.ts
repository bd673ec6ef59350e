// The WebAssembly of liblzma where the build has put it into the bundle (scripts/embed.mjs); in a checkout the host says
// where the file is (setXzWasm).
export const liblzmaWasm: (() => Uint8Array) | undefined = undefined;
