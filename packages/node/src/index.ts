// The library with what only Node has: dumps and images as files, and the decompressors ready to use.

export * from "../../core/src/index.ts";
export { prepareCodecs } from "./codecs.ts";
export { FileSource } from "./file-source.ts";
