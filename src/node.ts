// The library with what only Node has: dumps and images as files, and the decompressors ready to use.
export { FileSource } from "./bytes/file-source.ts";
export { prepareCodecs } from "./cli/files/codecs.ts";
export * from "./index.ts";
