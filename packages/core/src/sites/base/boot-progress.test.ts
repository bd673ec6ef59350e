import { describe, expect, it } from "vitest";
import type { BuiltObject } from "../../built/object.ts";
import { readEra } from "../era.ts";
import { prepareReplay, replay } from "../replay.ts";
import { at, fakeContext, fakeKernel, fakeObject, hex } from "../testing/fake-kernel.ts";

const TEXT = 0x1000000;
const SITES = 40;
const SLOT = 0x1400000;
const UNLOCK = 0x1200000;
const FLAG = 0x1500000;
const BUILT = hex("ff 14 25 00 00 40 81");

/** SITES paravirt calls of 7 bytes one behind the other. */
function object(): BuiltObject {
  const text = new Uint8Array(SITES * 7);
  const table = new Uint8Array(SITES * 16);
  const view = new DataView(table.buffer);
  for (let i = 0; i < SITES; i++) {
    text.set(BUILT, i * 7);
    view.setBigUint64(i * 16, at(TEXT + i * 7), true);
    view.setUint8(i * 16 + 9, 7);
    view.setUint16(i * 16 + 10, 0x1ff, true);
  }
  return fakeObject([
    { name: ".text", start: TEXT, bytes: text, text: true },
    { name: ".parainstructions", start: 0x2000000, bytes: table },
  ]);
}

/** The object's replay over memory in which the first `done` sites were patched; which sites then count as unpatched. */
function replayed(
  done: number,
  initFreed = false,
  { flag, odd }: { readonly flag?: number; readonly odd?: number } = {},
): { unpatched: number; problems: readonly string[]; reasons: string[] } {
  const flags: Record<string, number> = flag === undefined ? {} : { alternatives_patched: FLAG };
  const kernel = fakeKernel({ symbols: { pv_lock_ops: SLOT, unlock: UNLOCK, ...flags }, initFreed });
  if (flag !== undefined) kernel.memory.put(at(FLAG), [flag]);
  kernel.memory.put64(at(SLOT), at(UNLOCK));
  const built = object();
  for (let i = 0; i < SITES; i++) {
    const call = hex("e8 00 00 00 00 66 90");
    new DataView(call.buffer).setInt32(1, UNLOCK - (TEXT + i * 7 + 5), true);
    kernel.memory.put(at(TEXT + i * 7), i < done ? call : BUILT);
    if (i === odd) kernel.memory.put(at(TEXT + i * 7), hex("0f 0b"));
  }
  const own = replay(
    prepareReplay(kernel, built, fakeContext(kernel, built).state),
    readEra(undefined, () => [fakeContext(kernel, built)]),
  );
  const [region] = own.space.regions;
  let unpatched = 0;
  for (let i = 0; i < SITES; i++) if (region.intended[i * 7] === 0xff && region.credit[i * 7] === 0) unpatched++;
  const reasons = [0, SITES - 1].map((i) => own.sites[0].describe(i).reason);
  return { unpatched, problems: own.problems, reasons };
}

describe("a boot that stopped amid its patching", () => {
  it.each<[number, boolean, number, readonly string[]]>([
    [0, false, 40, ["paravirt: the boot stopped when alternative_instructions() had not begun with its 40 sites"]],
    [
      9,
      false,
      31,
      ["paravirt: the boot stopped when alternative_instructions() had come to number 10 of its 40 sites"],
    ],
    [
      24,
      false,
      16,
      ["paravirt: the boot stopped when alternative_instructions() had come to number 25 of its 40 sites"],
    ],
    [25, false, 0, []],
    [40, false, 0, []],
    [0, true, 0, []],
  ])("%i of 40 patched, init memory freed: %s", (done, freed, unpatched, problems) => {
    const result = replayed(done, freed);
    expect(result.unpatched).toBe(unpatched);
    expect(result.problems).toEqual(problems);
    expect(result.reasons[1].includes("not patched yet")).toBe(unpatched > 0);
    expect(result.reasons[0].includes("not patched yet")).toBe(unpatched === 40);
  });

  it.each<[string, number, { flag?: number; odd?: number }, number]>([
    ["the kernel's flag is proof for a few as well", 37, { flag: 0 }, 3],
    ["the kernel's flag says that it is through", 0, { flag: 1 }, 0],
    ["what another wrote at the table's end stops nothing", 0, { flag: 0, odd: 39 }, 39],
    ["the same without the flag", 0, { odd: 39 }, 39],
    ["the same amid patching", 9, { odd: 39 }, 30],
  ])("%s", (_what, done, given, unpatched) => {
    const { problems } = replayed(done, false, given);
    expect(problems).toHaveLength(unpatched > 0 ? 1 : 0);
    expect(replayed(done, false, given).unpatched).toBe(unpatched);
  });
});
