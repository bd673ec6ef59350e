// Paravirt sites of kernels before 4.20: slots in structures of their own, a type and clobbers in each entry.
import { describe, expect, it } from "vitest";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { applyParavirt } from "./paravirt.ts";

const TEXT = 0x1000000;
const TABLE = 0x2000000;
const IRQ = 0x1400000;
const LOCK = 0x1400100;
const INIT = 0x1400200;
const ANY = 0x1ff;
const symbols = {
  pv_irq_ops: IRQ,
  pv_lock_ops: LOCK,
  pv_init_ops: INIT,
  native_patch: 0x1200000,
  native_save_fl: 0x1200010,
  native_irq_disable: 0x1200020,
  __ticket_spin_unlock: 0x1200030,
  xen_spin_unlock: 0x1200040,
  _paravirt_nop: 0x1200050,
  _paravirt_ident_64: 0x1200060,
};
const types = {
  "struct pv_irq_ops": { size: 16, members: { save_fl: [0, 8], irq_disable: [8, 8] } },
  "struct pv_lock_ops": { size: 32, members: { spin_lock: [0, 8], spin_trylock: [8, 8], spin_unlock: [16, 8] } },
} as const;
/** Types in the template: pv_irq_ops from 48, pv_lock_ops from 96. */
const IRQ_TYPE = 48;
const LOCK_TYPE = 96;

interface Site {
  code: string;
  type: number;
  clobbers?: number;
}

/** Sites one behind the other from TEXT; `cut` bytes are missing at the table's end. */
function replay(
  sites: readonly Site[],
  slots: Record<number, number>,
  cut = 0,
  noReplaceParavirt = false,
  natives: readonly string[] = [],
): FakeContext {
  const code = sites.map((site) => hex(site.code));
  const table = new Uint8Array(sites.length * 16);
  const view = new DataView(table.buffer);
  let start = TEXT;
  sites.forEach(({ type, clobbers = ANY }, i) => {
    view.setBigUint64(i * 16, at(start), true);
    view.setUint8(i * 16 + 8, type);
    view.setUint8(i * 16 + 9, code[i].length);
    view.setUint16(i * 16 + 10, clobbers, true);
    start += code[i].length;
  });
  const labels = Object.fromEntries(natives.map((name, i) => [`start_pv_irq_ops_${name}`, 0x1300000 + i * 2]));
  const kernel = fakeKernel({ symbols: { ...symbols, ...labels }, types });
  for (const [slot, target] of Object.entries({ [INIT]: symbols.native_patch, ...slots })) {
    kernel.memory.put64(at(Number(slot)), target === 0 ? 0n : at(target));
  }
  const context = fakeContext(
    kernel,
    fakeObject([
      { name: ".text", start: TEXT, bytes: Uint8Array.from(code.flatMap((bytes) => [...bytes])), text: true },
      { name: ".parainstructions", start: TABLE, bytes: table.subarray(0, table.length - cut) },
    ]),
    { noReplaceParavirt },
  );
  applyParavirt(context);
  return context;
}

/** `call *slot`, absolute: ff 14 25 disp32 */
const call = (slot: number): string => `ff 14 25 ${toHex(new Uint8Array(Int32Array.of(slot - 2 ** 31).buffer))}`;
const UNLOCK = { code: call(LOCK + 16), type: LOCK_TYPE + 2 };

describe("paravirt sites before 4.20", () => {
  it.each<[string, Site, Record<number, number>, string]>([
    ["a function", UNLOCK, { [LOCK + 16]: symbols.__ticket_spin_unlock }, "e8 2b 00 20 00 66 90"],
    ["another function", UNLOCK, { [LOCK + 16]: symbols.xen_spin_unlock }, "e8 3b 00 20 00 66 90"],
    ["the empty function", UNLOCK, { [LOCK + 16]: symbols._paravirt_nop }, "0f 1f 80 00 00 00 00"],
    ["the identity", UNLOCK, { [LOCK + 16]: symbols._paravirt_ident_64 }, "48 89 f8 0f 1f 40 00"],
    ["NULL", UNLOCK, { [LOCK + 16]: 0 }, "0f 0b 0f 1f 44 00 00"],
    ["native code", { code: call(IRQ), type: IRQ_TYPE }, { [IRQ]: symbols.native_save_fl }, "9c 58 0f 1f 44 00 00"],
    [
      "native code even where the slot was changed",
      { code: call(IRQ + 8), type: IRQ_TYPE + 1 },
      { [IRQ + 8]: symbols.xen_spin_unlock },
      "fa 66 0f 1f 44 00 00",
    ],
    [
      "a function at a site that keeps registers: left as built",
      { ...UNLOCK, clobbers: 1 },
      { [LOCK + 16]: symbols.xen_spin_unlock },
      call(LOCK + 16),
    ],
    [
      "the empty function at such a site",
      { ...UNLOCK, clobbers: 1 },
      { [LOCK + 16]: symbols._paravirt_nop },
      "0f 1f 80 00 00 00 00",
    ],
  ])("%s", (_name, site, slots, expected) => {
    const context = replay([site], slots);
    expect(context.problems).toEqual([]);
    expect(context.intended(TEXT, 7)).toBe(expected);
  });

  it("calls what native_patch() has no instructions for, as its labels tell", () => {
    const site = { code: call(IRQ), type: IRQ_TYPE };
    const natives = ["irq_disable", "save_fl"];
    const slots = { [IRQ]: symbols.native_save_fl };
    expect(replay([site], slots, 0, false, natives).intended(TEXT, 7)).toBe("9c 58 0f 1f 44 00 00");
    expect(replay([site], slots, 0, false, natives.slice(0, 1)).intended(TEXT, 7)).toBe("e8 0b 00 20 00 66 90");
  });

  it("finds the slot of an asm site behind its pushes", () => {
    // push %rax; call *pv_irq_ops+8(%rip); pop %rax
    const disp = toHex(new Uint8Array(Int32Array.of(IRQ + 8 - (TEXT + 7)).buffer));
    const context = replay([{ code: `50 ff 15 ${disp} 58`, type: IRQ_TYPE + 1 }], {
      [IRQ + 8]: symbols.native_irq_disable,
    });
    expect(context.intended(TEXT, 8)).toBe("fa 0f 1f 80 00 00 00 00");
  });

  it("counts the slot of a site without a call from its neighbours of the same structure", () => {
    const sites = [{ code: call(IRQ), type: IRQ_TYPE }, UNLOCK, { code: "fa 90", type: IRQ_TYPE + 1 }];
    const slots = { [IRQ]: symbols.native_save_fl, [IRQ + 8]: 0, [LOCK + 16]: symbols.xen_spin_unlock };
    const context = replay(sites, slots);
    expect(context.problems).toEqual([]);
    expect(context.intended(TEXT + 14, 2)).toBe("fa 90");
  });

  it("says which site's slot stays unknown", () => {
    const context = replay([{ code: "fa 90", type: 7 }], {});
    expect(context.problems).toEqual(["paravirt site 0xffffffff81000000: fa 90 names no slot"]);
  });

  it("counts a last entry without its padding", () => {
    const context = replay([UNLOCK, UNLOCK], { [LOCK + 16]: symbols.xen_spin_unlock }, 4);
    expect(context.intended(TEXT + 7, 7)).toBe("e8 34 00 20 00 66 90");
  });

  it("leaves all as built with noreplace-paravirt", () => {
    const context = replay([UNLOCK], { [LOCK + 16]: symbols.xen_spin_unlock }, 0, true);
    expect(context.intended(TEXT, 7)).toBe(UNLOCK.code);
  });

  it("names the slot, its value and the forms of a site", () => {
    const context = replay([UNLOCK], { [LOCK + 16]: symbols.xen_spin_unlock });
    const details = applyParavirt(context)?.describe(0);
    expect(details?.slot).toEqual({
      name: "pv_lock_ops.spin_unlock",
      value: "xen_spin_unlock",
      address: at(LOCK + 16),
    });
    expect(details?.callsFunctions).toBe(true);
    expect(details?.forms.map((form) => form.name)).toContain("indirect call left as built");
  });
});
