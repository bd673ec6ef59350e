// One text packed by the usual tools, for the tests beside it: a sentence, call instructions (so that the x86 filter
// of xz has work), zeros, and the same again 20,000 bytes later (so that LZO needs its far matches).
import type { CodecName } from "../index.ts";

const SENTENCE = "A palimpsest is a page whose text was scraped off and written over. A kernel rewrites its own code. ";

/** What every fixture unpacks to: 23,500 bytes. */
export function fixtureContent(): Uint8Array {
  const calls = Array.from({ length: 12 }, (_, i) => [0xe8, 0x100 - 0x10 * i, i, 0, 0, 0x90]).flat();
  const part = [...new TextEncoder().encode(SENTENCE), ...calls];
  const zeros = new Array<number>(20000).fill(0);
  const sevens = new Array<number>(3000).fill(7);
  return Uint8Array.from([...part, ...zeros, ...part, ...sevens, ...part.slice(20), ...part.slice(5, 9)]);
}

/** Packed forms of fixtureContent(), base64, and the command that made them. */
export const fixtures: readonly { readonly codec: CodecName; readonly how: string; readonly packed: string }[] = [
  {
    codec: "gzip",
    how: "gzip -9n",
    packed:
      "H4sIAAAAAAACA+3cy03DUBBA0fANnyamgvTgDlICVvICFsG2/CzMkhJSAiVQAiVQAsssKYG8Lox0zuJKo6lgNlNFX++blz6nPEaT" +
      "oz7Njymmpy6nGNPbGFOdI2+Guk/b6Ha7qNttTEMzjqmN7jUNq6jiOQ1t2seQyiLlaMYc3dTGptumVRwXJ4fj71npz3np90Xp12Xp" +
      "51Xpx3XpYVn6flPa35Y+3JWu709dAAAAAAAAAAAAAAAAAAAAAAAAADAL1T/6ZbcEAABmb673RDl7/gBlnTEdzFsAAA==",
  },
  {
    codec: "bzip2",
    how: "bzip2",
    packed:
      "QlpoOTFBWSZTWTiKGGMAAQ5X///4QAEgAEAAb//dwEAAQABAAEAAwABAAEBAQAgwAPgDAGmho0YjIBoANDDAGmho0YjIBoANDBvV" +
      "RE2oo9T/UU8poGhp6jTHqjbTVNGtVEJM6kiXXXXXXXXXXXe2RJGrVq1dnZycyU4SJOzN3u99X+nRm9Zg8H6YsHSYzNg8VlFm56sH" +
      "iyz/kYTjJRk0VZLLurBm3tzY9zR1VWm9VzexzmvB9PhPfNyijpVybZo2sGDJ1ZNFI+Kkmx2WZMW2MG6UcVndk4qzZOU1WbVlIsrF" +
      "GSqje4UUJJSPCiTFySSVYwSYk/4u5IpwoSBxFDDG",
  },
  {
    codec: "xz",
    how: "xz --lzma2=dict=64KiB",
    packed:
      "/Td6WFoAAATm1rRGAgAhAQgAAADYDyMT4FvLAMxdACCICgYTkpVmziqT2+jZKOBYFMCi6DBPT3CJPm3kbYdsQ/Yd9/Yzw8vTeuYS" +
      "spt+fQTLvMbXBiC20MOHQsTHzQF2GFS0NqhHI/HXWCvgyCkHVx5986ks+XzlFexr/oTsS3PmreYZaJ7cdxQsKf3/Oif2gcfAXan3" +
      "rbzUA+u0ua+icRb2b4V9GQQkYV5ATbWQHdqPYfbq75d+WXGHAwWcPhFb7Ub4nl3G5EoawOHG0bTMHsfxJM38GFvRDYRpWYNcnP1q" +
      "jqBa/INlxU58AABODMu1fPyJwQAB6AHMtwEA6Oyz4bHEZ/sCAAAAAARZWg==",
  },
  {
    codec: "xz",
    how: "xz --x86 --lzma2=dict=64KiB --check=crc32",
    packed:
      "/Td6WFoAAAFpIt42AgEEACEBCADSuXTL4FvLARNdACCICgYTkpVmziqT2+jZKOBYFMCi6DBPT3CJPm3kbYdsQ/Yd9/Yzw8vTeuYS" +
      "spt+fQTLvMbXBiC20MOHQsTHzQF2GFS0NqhHI/HXWCvgyCkHVx5986ks+XzlKROuF0HViglT0M1vcO7weuCxShzzssrd95PDZYP5" +
      "1OX+R69OysRGId9g70OymRXRORmyepkUMxy61vRRswZ/OsOmTatMAzPUv4vsOV+i947W4u8n6oLi6Pi11EvK1fXf1L7Ur9N2J4ax" +
      "CG/aLCIPDqj6XO38aJTYsf8JyT5hrix3qIazSCSphoAWCJMQMbg0UM/9ValbHVsf+EK4N8ZRt0CvVkMSdKBWzZ4v35bsRDMSoBpL" +
      "/IChigAAAABlnTEdAAGrAsy3AQD67t8vPjANiwIAAAAAAVla",
  },
  {
    codec: "lzma",
    how: "xz --format=lzma --lzma1=dict=64KiB",
    packed:
      "XQAAAQD//////////wAgiAoGE5KVZs4qk9vo2SjgWBTAougwT09wiT5t5G2HbEP2Hff2M8PL03rmErKbfn0Ey7zG1wYgttDDh0LE" +
      "x80BdhhUtDaoRyPx11gr4MgpB1ceffOpLPl85RXsa/6E7Etz5q3mGWie3HcULCn9/zon9oHHwF2p96281APrtLmvonEW9m+FfRkE" +
      "JGFeQE21kB3aj2H26u+XfllxhwMFnD4RW+1G+J5dxuRKGsDhxtG0zB7H8STN/Bhb0Q2EaVmDXJz9ao6gWvyDZdhnm+b98nI8Iw==",
  },
  {
    codec: "zstd",
    how: "zstd -19",
    packed:
      "KLUv/WTMWgUFADJIHSGQTQcTv6r5NPNZzQ6/7ttsLcHQUKQ2SHXNNdkV/hb+3wHYWtSQSpM4iD02gys6whs+AQxCYBQ5KaUUvzRU" +
      "n19ZPc70uPu+6us2debLbaz+6pzpzQ5d81FUD7Wd98HHM3vWOr9xnbK3NO3nMX3Gja1Fq2nPBBCgMMru/9YMUCts7WqVKZIC7Yxf" +
      "qWcnFDicdjCGGMUYRAQZjH04aDIwa9+l",
  },
  {
    codec: "zstd",
    how: "zstd -19 from a pipe: no content size",
    packed:
      "KLUv/QRoBQUAMkgdIZBNBxO/qvk081nNDr/u22wtwdBQpDZIdc012RX+Fv7fAdha1JBKkziIPTaDKzrCGz4BDEJgFDkppRS/NFSf" +
      "X1k9zvS4+77q6zZ15sttrP7qnOnNDl3zUVQPtZ33wccze9Y6v3Gdsrc07ecxfcaNrUWrac8EEKAwyu7/1gxQK2ztapUpkgLtjF+p" +
      "ZycUOJx2MIYYxRhEBBmMfThoMjBr36U=",
  },
  {
    codec: "lz4",
    how: "lz4 -l -9",
    packed:
      "AiFMGBQBAADwQEEgcGFsaW1wc2VzdCBpcyBhIHBhZ2Ugd2hvc2UgdGV4dCB3YXMgc2NyYXBlZCBvZmYgYW5kIHdyaXR0ZW4gb3Zl" +
      "ci4gQSBrZXJuZWwgcmUZAPALZXMgaXRzIG93biBjb2RlLiDoAAAAAJDo8AEGACDgAgYAINADBgAgwAQGACCwBQYAIKAGBgAgkAcG" +
      "ACCACAYAIHAJBgAgYAoGAG9QCwAAkAABAP//////////////////////////////////////////////////////////////////" +
      "/////////////////////////////////////1oPzE6ZHwcBAP//////////////rw9QDIRQkGltcHM=",
  },
  {
    codec: "lzo",
    how: "lzop -9",
    packed:
      "iUxaTwANChoKEEAgoAlAAwkDAAAJAACBpGsDLkwAAAAAB2NvbnRlbnRW3waBAABbzAAAASeXYQKgIkEgcGFsaW1wc2VzdCBpcyBh" +
      "XAEAKWdlIHdob3NlIHRleHQgd2FzIHNjcmFwZWQgb2ZmIGFuZCB3cml0dGVuIG92ZXIuIEEga2VybmVsIHJlYQNlDgtpdAwACW93" +
      "biBjb2RlLiDoAEAAAZDo8AF2AOACdgDQA3YAwAR2ALAFdgCgBnYAkAd2AIAIdgBwCXYAYAp2AFALVQAAIAAAAAAAAADmAAAgAAAA" +
      "AAAAAOYAACAAAAAAAAAA5gAAIAAAAAAAAADmAAAgAAAAAAAAAOYAACAAAAAAAAAA5gAAIAAAAAAAAADmAAAgAAAAAAAAAOYAACAA" +
      "AAAAAAAA5gAAIAAAAAAAAAQAABCjMTsHIAAAAAAAAADmAAAgAAAAmQAAIHc8MSLYMxEAAAAAAAA=",
  },
];

export function fixtureBytes(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
