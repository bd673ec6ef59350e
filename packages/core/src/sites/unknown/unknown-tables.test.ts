// Tables and state of forms that are not known: one finding each, and the rest of the account stands.
import { describe, expect, it } from "vitest";
import { fromKernelOffset } from "../../bytes/brand.ts";
import { UNJUDGED } from "../base/patch-space.ts";
import type { UnknownPart } from "../base/site.ts";
import { applyAlternatives } from "../mechanisms/alternatives.ts";
import { applyFtrace } from "../mechanisms/ftrace.ts";
import { applyReturns } from "../mechanisms/returns.ts";
import { applyStaticCalls } from "../mechanisms/static-calls.ts";
import type { ReplayedObject } from "../replay.ts";
import { FTRACE_SYMBOLS, FTRACE_TYPES, opsAt, putFtrace } from "../testing/fake-ftrace.ts";
import {
  type FakeSection,
  type FakeTypes,
  fakeContext,
  fakeKernel,
  fakeObject,
  relativeTable,
} from "../testing/fake-kernel.ts";
import { leaveOutUnknownTables, listedPlaces, tellUnknownTables } from "./unknown-tables.ts";

const TEXT = 0x1000000;
const TABLE = 0x2000000;
const text: FakeSection = { name: ".text", start: TEXT, bytes: new Uint8Array(0x1000).fill(0x90), text: true };
const places = Array.from({ length: 20 }, (_, i) => TEXT + 0x40 * i);
const section = (name: string, bytes: Uint8Array): FakeSection => ({ name, start: TABLE, bytes });

describe("the form of a table", () => {
  const absolute = (stride: number): Uint8Array => {
    const out = new Uint8Array(places.length * stride);
    const view = new DataView(out.buffer);
    places.forEach((place, i) => {
      view.setBigUint64(i * stride, fromKernelOffset(place), true);
    });
    return out;
  };
  const wide = new Uint8Array(places.length * 12);
  places.forEach((place, i) => {
    new DataView(wide.buffer).setInt32(i * 12, place - (TABLE + i * 12), true);
  });
  it.each([
    ["s32", relativeTable(TABLE, places), 4],
    ["s32 and 8 more bytes", wide, 12],
    ["u64", absolute(8), 8],
    ["u64 and 8 more bytes", absolute(16), 16],
    ["with bytes left over", Uint8Array.of(...relativeTable(TABLE, places), 0, 0), 4],
  ])("%s", (_what, bytes, stride) => {
    const table = section(".quux", bytes);
    const object = fakeObject([text, table]);
    const built = object.section(".quux");
    expect(built && listedPlaces(object, built)).toEqual({ stride, places });
  });

  it("is none when the entries point elsewhere", () => {
    const object = fakeObject([text, section(".quux", new Uint8Array(64).fill(7))]);
    const built = object.section(".quux");
    expect(built && listedPlaces(object, built)).toBeUndefined();
  });
});

describe("a table whose places deviate", () => {
  const leaveOut = (tables: readonly FakeSection[], at: readonly number[], unknown: UnknownPart[] = []) => {
    const kernel = fakeKernel();
    const context = fakeContext(kernel, fakeObject([text, ...tables]));
    const replayed: ReplayedObject = { ...context, sites: [], inFlight: [], unknown };
    const parts = leaveOutUnknownTables(
      kernel,
      replayed,
      at.map((each) => ({ at: each, length: 2 })),
    );
    const left = context.space.regions[0].credit.filter((credit) => credit === UNJUDGED).length;
    return { parts, left };
  };
  const quux = section(".quux", relativeTable(TABLE, places));

  it("is one finding, and its bytes are left out", () => {
    const { parts, left } = leaveOut([quux], [...places.map((place) => place + 1), TEXT + 0x20]);
    expect(parts).toEqual([
      {
        id: "unknown.mechanism",
        mechanism: ".quux",
        object: "vmlinux",
        address: fromKernelOffset(TABLE),
        length: 80,
        what: "4-byte entries list 20 places in the code; 40 bytes at 20 of them differ from what was built",
      },
    ]);
    expect(left).toBe(40);
  });

  it.each([
    ["few places of it deviate", quux, places.slice(0, 7)],
    ["the bytes lie far behind its places", quux, places.map((place) => place + 9)],
    ["it belongs to a known mechanism", section(".return_sites", quux.bytes), places],
    ["it lists code for unwinding", section(".orc_unwind_ip", quux.bytes), places],
  ])("not when %s", (_what, table, at) => {
    expect(leaveOut([table], at)).toEqual({ parts: [], left: 0 });
  });

  it("needs no proof when its mechanism cannot read it", () => {
    const part: UnknownPart = {
      id: "unknown.table",
      mechanism: "returns",
      object: "vmlinux",
      address: fromKernelOffset(TABLE),
      length: 80,
      what: "",
    };
    const table = section(".return_sites", quux.bytes);
    expect(leaveOut([table], [places[3] + 30], [part])).toEqual({ parts: [], left: 2 });
  });

  it("is a note when only its name tells", () => {
    const context = fakeContext(
      fakeKernel(),
      fakeObject([
        text,
        { ...quux, name: ".xyz_sites" },
        { ...quux, name: ".return_sites" },
        { ...quux, name: ".init.setup" },
      ]),
    );
    tellUnknownTables(context);
    expect(context.unknown).toMatchObject([
      { mechanism: ".xyz_sites", severity: "note", what: "4-byte entries list 20 places in the code" },
    ]);
  });
});

describe("known tables of an unknown form", () => {
  const unknownOf = (
    apply: typeof applyReturns,
    name: string,
    bytes: Uint8Array,
    types: FakeTypes = {},
  ): readonly UnknownPart[] => {
    const context = fakeContext(fakeKernel({ types }), fakeObject([text, section(name, bytes)]));
    expect(apply(context)).toBeUndefined();
    return context.unknown;
  };

  it.each([
    [".return_sites", applyReturns, 82, {}, ".return_sites: 82 bytes are no whole number of 4-byte entries"],
    [
      ".static_call_sites",
      applyStaticCalls,
      20,
      {},
      ".static_call_sites: 20 bytes are no whole number of 8-byte entries",
    ],
    [
      ".static_call_sites",
      applyStaticCalls,
      48,
      { "struct static_call_site": { size: 12 } },
      ".static_call_sites: entries of 12 bytes, 8 are known",
    ],
    [
      ".altinstructions",
      applyAlternatives,
      44,
      { "struct alt_instr": { size: 22 } },
      ".altinstructions: entries of 22 bytes",
    ],
  ] as const)("%s is told", (name, apply, size, types, what) => {
    expect(unknownOf(apply, name, new Uint8Array(size), types)).toMatchObject([
      { id: "unknown.table", length: size, what },
    ]);
  });

  it("leaves out alternatives with a flag that is not known", () => {
    const bytes = new Uint8Array(28);
    const view = new DataView(bytes.buffer);
    for (const [i, flags] of [1, 5].entries()) {
      view.setInt32(i * 14, places[i] - (TABLE + i * 14), true);
      view.setInt32(i * 14 + 4, TEXT + 0xf00 - (TABLE + i * 14 + 4), true);
      view.setUint16(i * 14 + 10, flags, true);
      bytes.set([3, 0], i * 14 + 12);
    }
    const types = { "struct alt_instr": { size: 14 } };
    const context = fakeContext(fakeKernel({ types }), fakeObject([text, section(".altinstructions", bytes)]));
    applyAlternatives(context);
    expect(context.unknown).toMatchObject([
      {
        id: "unknown.table",
        address: fromKernelOffset(TABLE + 14),
        length: 14,
        what: expect.stringMatching(/^.altinstructions: 1 site has entries with flags/),
      },
    ]);
    expect(context.space.regions[0].credit.filter((credit) => credit === UNJUDGED)).toHaveLength(3);
  });
});

describe("records of an unknown form", () => {
  const mcount = new Uint8Array(8);
  new DataView(mcount.buffer).setBigUint64(0, fromKernelOffset(TEXT), true);
  const ENABLED = 0x80000000;
  const TRAMP_EN = 0x08000000;
  const unknownOf = (types: FakeTypes, flags: number): readonly UnknownPart[] => {
    const kernel = fakeKernel({
      types,
      symbols: { ...FTRACE_SYMBOLS, ftrace_caller: 0x1100000, ftrace_regs_caller: 0x1100100, my_ops: opsAt(0) },
    });
    putFtrace(kernel, [[TEXT, flags]], [{ func: 0x1200000, trampoline: 0x3000000, trampolineSize: 64 }]);
    const context = fakeContext(kernel, fakeObject([text, section("__mcount_loc", mcount)]));
    applyFtrace(context);
    expect(context.space.unjudged.map((each) => each.sites)).toEqual(context.unknown.length === 0 ? [] : [1]);
    return context.unknown;
  };
  const without = (type: string, member: string): FakeTypes => {
    const { [member]: _, ...members } = FTRACE_TYPES[type].members ?? {};
    return { ...FTRACE_TYPES, [type]: { ...FTRACE_TYPES[type], members } };
  };

  it("are told once, with what is missing", () => {
    expect(unknownOf(FTRACE_TYPES, ENABLED + TRAMP_EN)).toEqual([]);
    expect(unknownOf(without("struct dyn_ftrace", "flags"), ENABLED)).toMatchObject([
      {
        id: "unknown.state",
        mechanism: "ftrace",
        what: "the layout of struct dyn_ftrace.flags in test: ftrace sites are not judged",
      },
    ]);
  });

  it("matter only to the sites that need them", () => {
    const lost = without("struct ftrace_ops", "trampoline");
    expect(unknownOf(lost, ENABLED)).toEqual([]);
    expect(unknownOf(lost, ENABLED + TRAMP_EN)).toMatchObject([
      { id: "unknown.state", what: expect.stringMatching(/^the layout of struct ftrace_ops.trampoline in test: /) },
    ]);
  });
});
