import { describe, expect, it } from "vitest";
import type { KernelOffset } from "../bytes/brand.ts";
import { at, fakeKernel, hex, toHex } from "../sites/testing/fake-kernel.ts";
import { recoverLockCalls } from "./recovered-calls.ts";

const TEXT = 0x1000000;
const SLOTS = 0x1800000;
const TICKET_LOCK = 0x1000800;
const TICKET_UNLOCK = 0x1000900;
const XEN_UNLOCK = 0x1000a00;

const call = (from: number, to: number, pad: string): string => {
  const bytes = new Uint8Array(5).fill(0xe8);
  new DataView(bytes.buffer).setInt32(1, to - from - 5, true);
  return `${toHex(bytes)} ${pad}`;
};

function recover(text: string, symbols: Record<string, number> = {}) {
  const kernel = fakeKernel({
    types: {
      "struct pv_lock_ops": { size: 48, members: { spin_lock: [16, 8], spin_unlock: [40, 8] } },
    },
    symbols: {
      pv_lock_ops: SLOTS,
      __ticket_spin_lock: TICKET_LOCK,
      __ticket_spin_unlock: TICKET_UNLOCK,
      xen_spin_unlock: XEN_UNLOCK,
      ...symbols,
    },
  });
  kernel.memory.put64(at(SLOTS + 16), at(TICKET_LOCK)).put64(at(SLOTS + 40), at(XEN_UNLOCK));
  const bytes = hex(text);
  const section = { name: ".text", start: TEXT as KernelOffset, bytes, executable: true, kept: true };
  const found = recoverLockCalls(kernel, section);
  return found && { built: toHex(found.text.bytes), table: toHex(found.table.bytes), found: toHex(bytes) };
}

describe("lock calls without an image", () => {
  it.each([
    ["a call of what the slot holds", call(TEXT, XEN_UNLOCK, "66 90"), "ff 14 25 28 00 80 81"],
    ["a call of what it held", call(TEXT, TICKET_UNLOCK, "66 90"), "ff 14 25 28 00 80 81"],
    ["a call that was built relative", call(TEXT, TICKET_LOCK, "90"), "ff 15 0a 00 80 00"],
  ])("%s", (_what, text, built) => {
    expect(recover(text)?.built).toBe(built);
    expect(recover(text)?.found).toBe(text);
  });

  it.each([
    ["without the NOP", call(TEXT, TICKET_LOCK, "c3 90")],
    ["of another function", call(TEXT, TICKET_LOCK + 1, "66 90")],
    ["cut at the end", call(TEXT, TICKET_LOCK, "66")],
    ["cut at the end of its displacement", "e8 00 00 00"],
  ])("leaves a call %s", (_what, text) => {
    expect(recover(text)).toBeUndefined();
  });

  it("lists the sites as .parainstructions does", () => {
    expect(recover(`90 ${call(TEXT + 1, TICKET_LOCK, "66 90")}`)?.table).toBe(
      "01 00 00 81 ff ff ff ff 02 07 ff 01 00 00 00 00",
    );
  });

  it("knows no slot without pv_lock_ops", () => {
    const section = { name: ".text", start: TEXT as KernelOffset, bytes: hex("e8 00 00 00 00 90"), executable: true };
    expect(recoverLockCalls(fakeKernel(), { ...section, kept: true })).toBeUndefined();
  });
});
