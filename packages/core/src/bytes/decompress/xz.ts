// .xz and .lzma through the liblzma that node-liblzma ships as WebAssembly. Its own wrappers pass a BigInt where
// this build takes two 32-bit halves, and its inlined binary does not fit its glue code, so the raw functions are
// called here and the host says where the .wasm file's bytes come from.
import createLZMA from "node-liblzma/wasm/liblzma.js";
import { FormatError, MissingError, TruncatedError, UnsupportedError } from "../errors.ts";
import { BufferSource, type ByteSource } from "../source.ts";
import { liblzmaWasm } from "./liblzma-wasm.ts";
import { type DecompressOptions, OutputBuffer } from "./output.ts";

/** The part of Emscripten's module object that is used; 64-bit arguments are split into low and high halves. */
interface Liblzma {
  HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _lzma_stream_decoder(stream: number, memoryLow: number, memoryHigh: number, flags: number): number;
  _lzma_auto_decoder(stream: number, memoryLow: number, memoryHigh: number, flags: number): number;
  _lzma_code(stream: number, action: number): number;
  _lzma_end(stream: number): void;
}

/** `stream`: address of the lzma_stream, with the two windows behind it. */
interface Decoder {
  readonly lzma: Liblzma;
  readonly stream: number;
}

const LZMA_OK = 0;
const LZMA_STREAM_END = 1;
const LZMA_MEM_ERROR = 5;
const LZMA_MEMLIMIT_ERROR = 6;
const LZMA_OPTIONS_ERROR = 8;
const LZMA_BUF_ERROR = 10;
const LZMA_RUN = 0;
const LZMA_FINISH = 3;
const STREAM_SIZE = 96;
const INPUT_WINDOW = 256 * 1024;
const OUTPUT_WINDOW = 1024 * 1024;
/** Kernels are packed with dictionaries of 32 to 128 MiB (scripts/xz_wrap.sh); the build can address 256 MiB. */
const MEMORY_LIMIT = 200 * 1024 * 1024;
/** A heap that once held a large dictionary is not kept: WebAssembly memory never shrinks. */
const KEEP_HEAP = 16 * 1024 * 1024;

let provide: (() => Uint8Array) | undefined = liblzmaWasm;
let compiled: WebAssembly.Module | undefined;
let kept: Decoder | undefined;

/**
 * Says where the bytes of the package's file "node-liblzma/wasm/liblzma.wasm" come from, for a host that runs from sources;
 * a bundle has them in it. Called at most once, and only when something packed with xz is opened.
 */
export function setXzWasm(source: () => Uint8Array): void {
  provide ??= source;
}

/** The decoder kept from the last stream, or a new one. It is the caller's alone until put back into `kept`. */
function startLiblzma(): Decoder {
  const idle = kept;
  kept = undefined;
  if (idle !== undefined) return idle;
  if (compiled === undefined) {
    if (provide === undefined) {
      throw new MissingError("the xz decompressor", "setXzWasm() takes node-liblzma/wasm/liblzma.wasm");
    }
    compiled = new WebAssembly.Module(provide() as Uint8Array<ArrayBuffer>);
  }
  const module = compiled;
  const target: Record<string, unknown> = {
    // Emscripten's hook for instantiating synchronously: the functions are in `target` when the call returns.
    instantiateWasm(imports: WebAssembly.Imports, receive: (instance: WebAssembly.Instance) => void): object {
      const instance = new WebAssembly.Instance(module, imports);
      receive(instance);
      return instance.exports;
    },
  };
  void createLZMA(target);
  const lzma = target as unknown as Liblzma;
  const stream = lzma._malloc(STREAM_SIZE + INPUT_WINDOW + OUTPUT_WINDOW);
  if (stream === 0) throw new MissingError("memory for the xz decompressor");
  return { lzma, stream };
}

/** Unpacks one .xz stream (and any that follow it directly) or one .lzma file. What follows it is left alone. */
export function decompressXz(packed: Uint8Array, options: DecompressOptions): Uint8Array {
  const out = new OutputBuffer(options, packed.length);
  for (const chunk of xzChunks(new BufferSource(options.name, packed))) out.append(chunk);
  return out.finish();
}

/**
 * The same piece by piece, for what is too large to be held. Each chunk is lent until the next is asked for.
 */
export function* xzChunks(packed: ByteSource): Generator<Uint8Array, void> {
  let consumed = 0;
  do consumed = yield* streamChunks(packed, consumed);
  while (isXzStream(packed, consumed));
}

function isXzStream(packed: ByteSource, at: number): boolean {
  if (at + 4 > packed.size) return false;
  const bytes = packed.read(at, 4);
  return bytes[0] === 0xfd && bytes[1] === 0x37 && bytes[2] === 0x7a && bytes[3] === 0x58;
}

/** @returns where the stream ends */
function* streamChunks(packed: ByteSource, start: number): Generator<Uint8Array, number> {
  const decoder = startLiblzma();
  const { lzma, stream } = decoder;
  const { name } = packed;
  const input = stream + STREAM_SIZE;
  const output = input + INPUT_WINDOW;
  lzma.HEAPU8.fill(0, stream, stream + STREAM_SIZE);
  const open = isXzStream(packed, start) ? lzma._lzma_stream_decoder : lzma._lzma_auto_decoder;
  check(open(stream, MEMORY_LIMIT, 0, 0), name);
  let fed = start;
  try {
    for (;;) {
      // The heap may have grown, and its buffer changed, in any call.
      let fields = new DataView(lzma.HEAPU8.buffer, stream, STREAM_SIZE);
      if (fields.getUint32(4, true) === 0 && fed < packed.size) {
        const part = packed.read(fed, Math.min(INPUT_WINDOW, packed.size - fed));
        lzma.HEAPU8.set(part, input);
        fields.setUint32(0, input, true);
        fields.setUint32(4, part.length, true);
        fed += part.length;
      }
      fields.setUint32(16, output, true);
      fields.setUint32(20, OUTPUT_WINDOW, true);
      const result = lzma._lzma_code(stream, fed < packed.size ? LZMA_RUN : LZMA_FINISH);
      fields = new DataView(lzma.HEAPU8.buffer, stream, STREAM_SIZE);
      const produced = OUTPUT_WINDOW - fields.getUint32(20, true);
      const left = fields.getUint32(4, true);
      if (produced > 0) yield lzma.HEAPU8.subarray(output, output + produced);
      if (result === LZMA_STREAM_END) return fed - left;
      if (result === LZMA_OK && (produced > 0 || left > 0 || fed < packed.size)) continue;
      if (left === 0 && fed === packed.size && (result === LZMA_OK || result === LZMA_BUF_ERROR)) {
        throw new TruncatedError(`${name}: xz stream`, packed.size - start + 1, packed.size - start);
      }
      check(result, name);
      throw new FormatError(name, "the xz stream stands still");
    }
  } finally {
    lzma._lzma_end(stream);
    if (lzma.HEAPU8.length <= KEEP_HEAP) kept = decoder;
  }
}

function check(result: number, name: string): void {
  if (result === LZMA_OK) return;
  if (result === LZMA_MEM_ERROR || result === LZMA_MEMLIMIT_ERROR) {
    throw new UnsupportedError(name, `an xz dictionary that needs more than ${MEMORY_LIMIT >> 20} MiB`);
  }
  if (result === LZMA_OPTIONS_ERROR) throw new UnsupportedError(name, "this xz filter chain");
  throw new FormatError(name, `broken xz data (liblzma error ${result})`);
}
