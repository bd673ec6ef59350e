// Every codec against data that the usual tools packed, whole, cut short, changed and with bytes behind it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { beforeAll, describe, expect, it } from "vitest";
import { FormatError, PalimpsestError, TruncatedError } from "../errors.ts";
import { decompress, detectCodec, loadCodecs, setNativeGunzip, setXzWasm } from "./index.ts";
import { fixtureBytes, fixtureContent, fixtures } from "./testing/fixtures.ts";

const content = fixtureContent();
const options = { name: "test: payload" };

beforeAll(async () => {
  const require = createRequire(import.meta.url);
  setXzWasm(() => readFileSync(require.resolve("node-liblzma/wasm/liblzma.wasm")));
  await loadCodecs();
});

/** toEqual() walks typed arrays element by element, which is slow here. */
const isContent = (bytes: Uint8Array) => Buffer.compare(bytes, content) === 0;

function attempt(run: () => Uint8Array): PalimpsestError | Uint8Array {
  try {
    return run();
  } catch (error) {
    if (error instanceof PalimpsestError) return error;
    throw error;
  }
}

describe.each(fixtures)("$codec ($how)", ({ codec, packed: base64 }) => {
  const packed = fixtureBytes(base64);

  it("is told by its magic", () => {
    expect(detectCodec(packed.subarray(0, 9))).toBe(codec);
  });

  it("unpacks", () => {
    expect(isContent(decompress(codec, packed, options))).toBe(true);
  });

  it("believes no size hint", () => {
    for (const sizeHint of [1, content.length, 0xffffffff]) {
      expect(isContent(decompress(codec, packed, { ...options, sizeHint }))).toBe(true);
    }
  });

  it("leaves bytes behind the stream alone", () => {
    // A legacy LZ4 frame has no end mark but a zero size: whoever holds it must know where it ends.
    const behind = codec === "lz4" ? [0, 0, 0, 0, 5] : [9, 8, 7, 6, 5];
    expect(isContent(decompress(codec, Uint8Array.from([...packed, ...behind]), options))).toBe(true);
  });

  it("stops at the limit", () => {
    const result = attempt(() => decompress(codec, packed, { ...options, limit: 20_000 }));
    expect(result).toBeInstanceOf(FormatError);
    expect((result as Error).message).toMatch(/more than 20000 bytes|more than a block may hold|more than the block/);
  });

  it("is refused when cut short anywhere", () => {
    for (let length = 12; length < packed.length; length += 7) {
      const result = attempt(() => decompress(codec, packed.subarray(0, length), options));
      expect(result, `at ${length}`).toBeInstanceOf(PalimpsestError);
      expect((result as Error).message).toContain("test: payload");
    }
  });

  it("never fails but by a PalimpsestError when a byte changes", () => {
    for (let at = 0; at < packed.length; at += 3) {
      const changed = packed.slice();
      changed[at]! ^= 0x41;
      const result = attempt(() => decompress(codec, changed, { ...options, limit: 1 << 20 }));
      if (!(result instanceof PalimpsestError)) expect(result.length).toBeLessThanOrEqual(1 << 20);
    }
  });
});

describe("xz", () => {
  const packed = fixtureBytes(fixtures.find(({ codec }) => codec === "xz")!.packed);

  it("unpacks streams put behind each other", () => {
    expect(decompress("xz", Uint8Array.from([...packed, ...packed]), options)).toHaveLength(2 * content.length);
  });

  it("says where data end too early", () => {
    expect(() => decompress("xz", packed.subarray(0, 100), options)).toThrow(
      new TruncatedError("test: payload: xz stream", 101, 100),
    );
  });

  it("words broken data", () => {
    const changed = packed.slice();
    changed[100]! ^= 0xff;
    expect(() => decompress("xz", changed, options)).toThrow("test: payload: broken xz data (liblzma error 9)");
  });
});

describe("zstd", () => {
  const packed = fixtureBytes(fixtures.find(({ codec }) => codec === "zstd")!.packed);

  it("unpacks frames put behind each other and skips skippable ones", () => {
    const skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    expect(decompress("zstd", Uint8Array.from([...packed, ...skippable, ...packed]), options)).toHaveLength(
      2 * content.length,
    );
  });

  it("words a block that is too large", () => {
    const frame = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50, 0xff, 0xff, 0xff, 0, 0]);
    expect(() => decompress("zstd", frame, options)).toThrow("test: payload: zstd frame+0x6: reserved block type");
  });
});

describe("gzip", () => {
  const packed = fixtureBytes(fixtures.find(({ codec }) => codec === "gzip")!.packed);

  it("verifies the checksum", () => {
    const changed = packed.slice();
    changed[packed.length - 6]! ^= 1;
    expect(() => decompress("gzip", changed, options)).toThrow(
      "test: payload: broken gzip data (its checksum does not follow)",
    );
  });

  it("asks the host's gunzip first and has the last word when that fails", () => {
    setNativeGunzip(() => Buffer.of(1));
    expect(decompress("gzip", packed, options)).toStrictEqual(Uint8Array.of(1)); // no Buffer
    setNativeGunzip(() => {
      throw new Error("not today");
    });
    expect(isContent(decompress("gzip", packed, options))).toBe(true);
    setNativeGunzip(undefined);
  });
});

describe("bzip2", () => {
  it("verifies the block's CRC", () => {
    const packed = fixtureBytes(fixtures.find(({ codec }) => codec === "bzip2")!.packed);
    packed[10]! ^= 1;
    expect(() => decompress("bzip2", packed, options)).toThrow(
      /^test: payload: bzip2\+0x[0-9a-f]+: block CRC differs$/,
    );
  });
});

describe("lz4", () => {
  it("refuses a match before the block", () => {
    const frame = Uint8Array.from([2, 0x21, 0x4c, 0x18, 4, 0, 0, 0, 0x10, 0x61, 9, 0]);
    expect(() => decompress("lz4", frame, options)).toThrow(
      "test: payload: LZ4 block+0x4: match 9 bytes back, before the block",
    );
  });
});
