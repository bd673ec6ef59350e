import { describe, expect, it } from "vitest";
import {
  at,
  type FakeContext,
  fakeContext,
  fakeKernel,
  fakeObject,
  hex,
  relativeTable,
} from "../testing/fake-kernel.ts";
import { applyCallThunks, callsComeFirst, callThunkTarget } from "./call-thunks.ts";

const TEXT = 0x1000000;
const TEMPLATE = 0x1800000;
const FUNC = TEXT + 0x40;
const PAD = "90 90 90 90 90 90 90 90 90";
/** sarq $5, %gs:0x20000000(%rip), 9 bytes: the same place named from TEMPLATE, and from the padding of FUNC */
const SEQUENCE = "65 48 c1 3d 00 00 00 20 05";
const COUNTING = "65 48 c1 3d c9 ff 7f 20 05";
const CALL_FUNC = "e8 3b 00 00 00";
const CALL_PAD = "e8 32 00 00 00";

interface World {
  /** what stands at TEXT */
  call?: string;
  pad?: string;
  symbols?: Record<string, number>;
  found?: string;
  on?: boolean;
  places?: readonly number[];
  replacement?: boolean;
}

function world({
  call = CALL_FUNC,
  pad = PAD,
  symbols = {},
  found,
  on = true,
  places = [TEXT],
  replacement,
}: World): FakeContext {
  const kernel = fakeKernel({
    symbols: {
      _text: TEXT,
      _etext: TEXT + 0x80,
      skl_call_thunk_template: TEMPLATE,
      skl_call_thunk_tail: TEMPLATE + 9,
      func: FUNC,
      ...symbols,
    },
  });
  kernel.memory.put(at(TEMPLATE), hex(SEQUENCE));
  if (found !== undefined) kernel.memory.put(at(FUNC - 9), hex(found));
  const text = new Uint8Array(0x100).fill(0x90);
  text.set(hex(call), 0);
  text.set(hex(pad), 0x37);
  text.set(hex("c3 cc cc cc cc"), 0x40);
  const TABLE = 0x1900000;
  const sections = [
    { name: ".text", start: TEXT, bytes: text, text: true },
    { name: ".call_sites", start: TABLE, bytes: relativeTable(TABLE, places) },
  ];
  if (replacement)
    sections.push({ name: ".altinstr_replacement", start: TEXT + 0x1000, bytes: new Uint8Array(16), text: false });
  return fakeContext(kernel, fakeObject(sections), { callDepth: on });
}

describe("call depth tracking", () => {
  it.each([
    ["counts a call in the padding of its function", {}, CALL_PAD, COUNTING],
    ["leaves calls alone where it is off", { on: false }, CALL_FUNC, PAD],
    ["leaves a call that was patched out", { call: "0f 1f 44 00 00" }, "0f 1f 44 00 00", PAD],
    [
      "leaves a function without room for it",
      { pad: "90 90 90 90 cc 90 90 90 90" },
      CALL_FUNC,
      "90 90 90 90 cc 90 90 90 90",
    ],
    ["leaves functions that count for themselves", { symbols: { error_entry: FUNC } }, CALL_FUNC, PAD],
    ["leaves calls out of the core's text", { call: "e8 fb 0f 00 00" }, "e8 fb 0f 00 00", PAD],
    ["leaves calls that are not in the core's text", { symbols: { _text: TEXT + 0x10 } }, CALL_FUNC, PAD],
    [
      "keeps padding that somebody else had filled",
      { call: "c3 cc cc cc cc", found: COUNTING },
      "c3 cc cc cc cc",
      COUNTING,
    ],
    ["adopts no other bytes", { call: "c3 cc cc cc cc", found: "65 48 c1 3d 00 00 00 00 05" }, "c3 cc cc cc cc", PAD],
  ] as const)("%s", (_what, state: World, call, pad) => {
    const context = world(state);
    applyCallThunks(context);
    expect(context.intended(TEXT, 5)).toBe(call);
    expect(context.intended(FUNC - 9, 9)).toBe(pad);
    expect(context.problems).toEqual([]);
  });

  it("leads static calls there too", () => {
    expect(callThunkTarget(world({}), FUNC)).toBe(FUNC - 9);
    expect(callThunkTarget(world({ on: false }), FUNC)).toBe(FUNC);
    expect(callThunkTarget(world({ pad: "cc cc cc cc cc cc cc cc cc" }), FUNC)).toBe(FUNC);
  });

  it("comes before alternatives where the table names calls in replacements", () => {
    expect(callsComeFirst(world({ places: [TEXT, TEXT + 0x1004], replacement: true }))).toBe(true);
    expect(callsComeFirst(world({ places: [TEXT], replacement: true }))).toBe(false);
  });

  it("tells when the sequence is not in the dump", () => {
    const context = world({ symbols: { skl_call_thunk_tail: TEMPLATE + 20 } });
    applyCallThunks(context);
    expect(context.intended(TEXT, 5)).toBe(CALL_FUNC);
    expect(context.problems).toEqual(["skl_call_thunk_template is not in the dump: calls are not counted"]);
  });
});
