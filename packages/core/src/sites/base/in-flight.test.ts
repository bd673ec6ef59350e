import { describe, expect, it } from "vitest";
import { applyJumpLabels } from "../mechanisms/jump-labels.ts";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { inFlightPokes } from "./in-flight.ts";
import type { Pending, SiteList } from "./site.ts";

const TEXT = 0x1000000;
const KEY = 0x2000000;
const OTHER_KEY = 0x2000040;
const MUTEX = 0x2001000;
const QUEUE = 0x2002000;
const DESC = 0x2003000;
const NOP = "0f 1f 44 00 00";
const types = {
  "struct mutex": { size: 32, members: { owner: [0, 8] } },
  "struct static_key": { size: 16, members: { enabled: [0, 4] } },
  "struct text_poke_loc": {
    size: 16,
    members: { rel_addr: [0, 4], disp: [4, 4], len: [8, 1], opcode: [9, 1], text: [10, 5], old: [15, 1] },
  },
  "struct bp_patching_desc": { size: 16, members: { vec: [0, 8], nr_entries: [8, 4], refs: [12, 4] } },
} as const;

interface State {
  /** what the four sites at TEXT, TEXT+16, +32 (of KEY) and +48 (of OTHER_KEY) hold */
  held: readonly string[];
  enabled?: number;
  held_lock?: boolean;
  /** places in the active batch, with their saved first byte */
  batch?: readonly (readonly [place: number, text: string, old: number])[];
}

/** `jmp` of site i to TEXT+0x80. */
const jump = (i: number): string => toHex(Uint8Array.of(0xe9, 0x80 - i * 16 - 5, 0, 0, 0));

function world({ held, enabled, held_lock, batch = [] }: State): { context: FakeContext; sites: SiteList[] } {
  const kernel = fakeKernel({
    types,
    symbols: {
      _stext: TEXT,
      jump_label_mutex: MUTEX,
      tp_vec: QUEUE,
      tp_vec_nr: QUEUE + 0x800,
      bp_desc: DESC,
      next: DESC + 16,
    },
  });
  const { memory } = kernel;
  memory
    .put32(at(KEY), enabled ?? 0)
    .put32(at(OTHER_KEY), 0)
    .put64(at(MUTEX), held_lock ? 0xffff888000001000n : 0n);
  memory.put32(at(QUEUE + 0x800), 0);
  memory
    .put64(at(DESC), at(QUEUE))
    .put32(at(DESC + 8), batch.length)
    .put32(at(DESC + 12), batch.length > 0 ? 1 : 0);
  batch.forEach(([place, text, old], i) => {
    memory.put32(at(QUEUE + i * 16), place - TEXT).put(at(QUEUE + i * 16 + 4), new Uint8Array(12));
    memory
      .put(at(QUEUE + i * 16 + 8), [5])
      .put(at(QUEUE + i * 16 + 10), hex(text))
      .put(at(QUEUE + i * 16 + 15), [old]);
  });
  const text = new Uint8Array(0x100).fill(0x90);
  const table = new Uint8Array(64);
  const view = new DataView(table.buffer);
  const TABLE = 0x1800000;
  held.forEach((bytes, i) => {
    text.set(hex(NOP), i * 16);
    memory.put(at(TEXT + i * 16), hex(bytes));
    view.setInt32(i * 16, TEXT + i * 16 - (TABLE + i * 16), true);
    view.setInt32(i * 16 + 4, TEXT + 0x80 - (TABLE + i * 16 + 4), true);
    view.setBigInt64(i * 16 + 8, BigInt((i === 3 ? OTHER_KEY : KEY) - (TABLE + i * 16 + 8)), true);
  });
  const object = fakeObject([
    { name: ".text", start: TEXT, bytes: text, text: true },
    { name: "__jump_table", start: TABLE, bytes: table },
  ]);
  const context = fakeContext(kernel, object);
  const list = applyJumpLabels(context);
  return { context, sites: list === undefined ? [] : [list] };
}

/** Indices of sites that are in flight by what they hold. */
function inFlight(state: State): number[] {
  const { context, sites } = world(state);
  return inFlightPokes(context, sites)
    .filter((poke) => {
      const held = toHex(hex(state.held[(poke.start - TEXT) / 16]));
      return poke.forms.some((form) => toHex(form) === held);
    })
    .map((poke) => (poke.start - TEXT) / 16);
}

const J = [jump(0), jump(1), jump(2), jump(3)];
const half = (bytes: string): string => `cc${bytes.slice(2)}`;

describe("pokes in flight", () => {
  // The key was switched on: its sites go from NOP to JMP.
  const batch = [[TEXT, J[0], 0x0f]] as const;
  it.each([
    ["untouched: the old bytes", NOP, [0]],
    ["step 1: INT3 and the old tail", half(NOP), [0]],
    ["step 2, stopped in the middle of the tail", `cc ${J[0].slice(3, 5)} 44 00 00`, [0]],
    ["step 2: INT3 and the new tail", half(J[0]), [0]],
    ["step 3: the new bytes are the intended ones", J[0], []],
    ["bytes of no step", "cc 11 22 33 44", []],
    ["a jump elsewhere", "e9 01 02 03 04", []],
  ])("%s", (_what, held, expected) => {
    expect(inFlight({ held: [held, J[1], J[2], NOP], enabled: 1, batch })).toEqual(expected);
  });

  it("does not excuse what the list does not name, nor a list that is not in use", () => {
    expect(inFlight({ held: [J[0], half(NOP), J[2], NOP], enabled: 1, batch })).toEqual([]);
    expect(inFlight({ held: [half(NOP), J[1], J[2], NOP], enabled: 1 })).toEqual([]);
  });

  it("knows the key under change by its count of -1 while jump_label_mutex is held", () => {
    expect(inFlight({ held: [J[0], NOP, NOP, NOP], enabled: -1, held_lock: true })).toEqual([1, 2]);
    expect(inFlight({ held: [J[0], NOP, NOP, J[3]], enabled: -1, held_lock: true })).toEqual([1, 2]);
    expect(inFlight({ held: [J[0], NOP, NOP, NOP], enabled: 1, held_lock: false })).toEqual([]);
  });

  it("knows the key under change by the batch, and then all of its sites", () => {
    expect(inFlight({ held: [half(NOP), NOP, NOP, J[3]], enabled: 1, held_lock: true, batch })).toEqual([0, 1, 2]);
  });

  it("takes the only key whose last sites are behind as the one under change", () => {
    expect(inFlight({ held: [NOP, NOP, J[2], NOP], enabled: 0, held_lock: true })).toEqual([2]);
    expect(inFlight({ held: [J[0], NOP, NOP, NOP], enabled: 0, held_lock: true }), "an early site alone").toEqual([]);
    expect(inFlight({ held: [NOP, NOP, J[2], J[3]], enabled: 0, held_lock: true }), "two keys at a time").toEqual([]);
  });

  it("says what shows it", () => {
    const { context, sites } = world({ held: [half(NOP), J[1], J[2], NOP], enabled: 1, batch });
    expect(inFlightPokes(context, sites).map((poke) => poke.evidence)).toEqual([
      "text_poke's list of places being written names it",
    ]);
  });

  it("asks for no order where the kernel keeps none", () => {
    const { context, sites } = world({ held: [J[0], NOP, NOP, NOP], enabled: 0, held_lock: true });
    const pending: Pending = { ...(sites[0].pending as Pending), ordered: false };
    expect(inFlightPokes(context, [{ ...sites[0], pending }]).map((poke) => poke.start)).toEqual([TEXT]);
  });
});
