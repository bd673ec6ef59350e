import { expect, it } from "vitest";
import { BufferSource } from "../../bytes/source.ts";
import { PageBitmap } from "./page-bitmap.ts";

function bitmapOf(frames: number, set: (frame: number) => boolean) {
  const bytes = new Uint8Array(100 + Math.ceil(frames / 8));
  for (let frame = 0; frame < frames; frame++) if (set(frame)) bytes[100 + (frame >>> 3)] |= 1 << (frame & 7);
  return bytes;
}

it.each<[string, number, (frame: number) => boolean]>([
  ["none", 70_001, () => false],
  ["all", 70_001, () => true],
  ["mixed", 100_003, (frame) => (Math.imul(frame ^ 0x55, 0x9e3779b1) >>> 28) % 3 === 0],
  ["long runs", 131_072, (frame) => (frame >>> 11) % 3 !== 1],
  ["ends of blocks", 65_536, (frame) => frame % 32_768 === 0 || frame % 32_768 === 32_767],
  ["few", 5, (frame) => frame !== 2],
])("counts and lists %s as one by one", (_name, frames, set) => {
  const bitmap = new PageBitmap(new BufferSource("bits", bitmapOf(frames, set)), 100, frames);
  let count = 0;
  const runs: [number, number][] = [];
  const wrong: number[] = [];
  for (let frame = 0; frame < frames; frame++) {
    if (bitmap.rank(frame) !== (set(frame) ? count : -1)) wrong.push(frame);
    if (!set(frame)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === frame) last[1]++;
    else runs.push([frame, 1]);
    count++;
  }
  expect(wrong).toEqual([]);
  expect(bitmap.count).toBe(count);
  expect(bitmap.frames).toBe(frames);
  expect(bitmap.rank(frames)).toBe(-1);
  expect(bitmap.rank(Number.NaN)).toBe(-1);
  expect(bitmap.runs().map(({ physical, length }) => [physical / 4096, length / 4096])).toEqual(runs);
});

it("ignores bits past the last frame", () => {
  const bitmap = new PageBitmap(new BufferSource("bits", new Uint8Array(4096).fill(255)), 0, 13);
  expect(bitmap.count).toBe(13);
});

it("has bits for what the file has", () => {
  const source = new BufferSource(
    "bits",
    bitmapOf(40_000, () => true),
  );
  const bitmap = new PageBitmap(source, 100, 2 ** 40);
  expect(bitmap.frames).toBe(32_768);
  expect(bitmap.count).toBe(32_768);
});

it("joins ranges when there are too many to list", () => {
  const frames = 300_000;
  const runs = new PageBitmap(
    new BufferSource(
      "bits",
      bitmapOf(frames, (frame) => frame % 2 === 0),
    ),
    100,
    frames,
  ).runs();
  expect(runs).toHaveLength(65_536);
  expect(runs[65_535]).toEqual({ physical: 65_535 * 8192, length: (frames - 1 - 2 * 65_535) * 4096 });
});
