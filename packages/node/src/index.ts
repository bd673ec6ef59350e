// The library with what only Node has: dumps and images as files, found where distributions put them, and the decompressors
// ready to use.

export * from "../../core/src/index.ts";
export { prepareCodecs } from "./codecs.ts";
export { FileSource } from "./file-source.ts";
export { type OpenDumpOptions, openDump } from "./open-dump.ts";
