import { describe, expect, it } from "vitest";
import { at, type FakeKernel, fakeKernel, hex, toHex } from "../../sites/testing/fake-kernel.ts";
import { pokeList } from "./poke-list.ts";

const STEXT = 0x1000000;
const VECTOR = 0x2000000;
const DESC = 0x2001000;
const COUNT = 0x2002000;
/** {s32 rel_addr, s32 disp, u8 len, u8 opcode, u8 text[5], u8 old} */
const LOC = {
  size: 16,
  members: { rel_addr: [0, 4], disp: [4, 4], len: [8, 1], opcode: [9, 1], text: [10, 5], old: [15, 1] },
} as const;
const DESCRIPTOR = { size: 16, members: { vec: [0, 8], nr_entries: [8, 4], refs: [12, 4] } } as const;

function entry(place: number, text: string, old = 0, length = 5): Uint8Array {
  const out = new Uint8Array(16);
  new DataView(out.buffer).setInt32(0, place - STEXT, true);
  out[8] = length;
  out.set(hex(text), 10);
  out[15] = old;
  return out;
}

/** A kernel of 5.10 … 6.15 with the queue `tp_vec` and the descriptor `bp_desc`. */
function queueKernel(options: { queued?: number; refs?: number; nr?: number; vector?: number }): FakeKernel {
  const kernel = fakeKernel({
    types: { "struct text_poke_loc": LOC, "struct bp_patching_desc": DESCRIPTOR },
    symbols: { _stext: STEXT, tp_vec: VECTOR, tp_vec_nr: COUNT, bp_desc: DESC, next: DESC + 16 },
  });
  const { memory } = kernel;
  memory
    .put(at(VECTOR), entry(STEXT + 0x100, "0f 1f 44 00 00", 0xe8))
    .put(at(VECTOR + 16), entry(STEXT + 0x200, "eb 10", 0x66, 2));
  memory.put32(at(COUNT), options.queued ?? 0);
  memory
    .put64(at(DESC), at(options.vector ?? VECTOR))
    .put32(at(DESC + 8), options.nr ?? 2)
    .put32(at(DESC + 12), options.refs ?? 0);
  return kernel;
}

const words = (kernel: FakeKernel, problems: string[] = []): string[] =>
  pokeList(kernel, problems).map(
    (each) =>
      `${(each.at - STEXT).toString(16)} ${each.text && toHex(each.text)} old ${each.old?.toString(16)} ${each.active ? "active" : "queued"}`,
  );

describe("the list of text_poke", () => {
  it("counts nothing of a list that is not in use", () => {
    expect(words(queueKernel({}))).toEqual([]);
  });

  it("reads a batch under way", () => {
    expect(words(queueKernel({ refs: 1, queued: 2 }))).toEqual([
      "100 0f 1f 44 00 00 old e8 active",
      "200 eb 10 old 66 active",
    ]);
  });

  it("reads what waits in the queue while one place is written from the stack", () => {
    const kernel = queueKernel({ refs: 1, nr: 1, queued: 1, vector: 0x3000000 });
    kernel.memory.put(at(0x3000000), entry(STEXT + 0x300, "e9 01 02 03 04", 0x0f));
    expect(words(kernel)).toEqual(["100 0f 1f 44 00 00 old e8 queued", "300 e9 01 02 03 04 old f active"]);
  });

  it("follows the pointer that bp_desc was from 5.7 to 6.0", () => {
    const kernel = fakeKernel({
      types: { "struct text_poke_loc": LOC, "struct bp_patching_desc": DESCRIPTOR },
      symbols: { _stext: STEXT, bp_desc: COUNT, next: COUNT + 8 },
    });
    kernel.memory
      .put64(at(COUNT), at(DESC))
      .put64(at(DESC), at(VECTOR))
      .put32(at(DESC + 8), 1)
      .put32(at(DESC + 12), 1);
    kernel.memory.put(at(VECTOR), entry(STEXT + 0x100, "0f 1f 44 00 00"));
    expect(words(kernel)).toEqual(["100 0f 1f 44 00 00 old 0 active"]);
  });

  it("reads text_poke_array of 6.16, and the 0f that a Jcc leaves out", () => {
    const kernel = fakeKernel({
      types: {
        "struct smp_text_poke_loc": LOC,
        "struct smp_text_poke_array": { size: 4088, members: { vec: [0, 4080], nr_entries: [4080, 4] } },
      },
      symbols: { _stext: STEXT, text_poke_array: VECTOR },
    });
    kernel.memory.put(at(VECTOR), entry(STEXT + 0x400, "85 01 02 03 04", 0x0f, 6)).put32(at(VECTOR + 4080), 1);
    expect(words(kernel)).toEqual(["400 0f 85 01 02 03 04 old f active"]);
  });

  it("does not believe an absurd count", () => {
    const problems: string[] = [];
    expect(words(queueKernel({ refs: 1, nr: 100_000 }), problems)).toEqual([]);
    expect(problems).toEqual(["the list of text_poke claims 100000 entries, which is not believed"]);
  });

  it("tells when the vector is not in the dump", () => {
    const problems: string[] = [];
    expect(words(queueKernel({ refs: 1, nr: 1, vector: 0x5000000 }), problems)).toEqual([]);
    expect(problems[0]).toMatch(/^the list of text_poke: 0xffffffff85000000: not in the dump/);
  });
});
