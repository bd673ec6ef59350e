import { describe, expect, it } from "vitest";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex, toHex } from "../testing/fake-kernel.ts";
import { applyHypercallPage } from "./hypercall-page.ts";

const PAGE = 0x1001000;
/** __HYPERVISOR_iret */
const IRET = 23;

/** A page of stubs: the code of stub 0, its number's place, and what fills the rest. */
function stubs(code: string, numberAt: number, fill: number, iret?: string): Uint8Array {
  const page = new Uint8Array(4096).fill(fill);
  for (let number = 0; number < 128; number++) {
    page.set(hex(code), number * 32);
    new DataView(page.buffer).setUint32(number * 32 + numberAt, number, true);
  }
  if (iret !== undefined) page.fill(fill, IRET * 32, IRET * 32 + 32).set(hex(iret), IRET * 32);
  return page;
}

const VMCALL = "b8 00 00 00 00 0f 01 c1 c3";
const VMMCALL = "b8 00 00 00 00 0f 01 d9 c3";
const SYSCALL = "51 41 53 b8 00 00 00 00 0f 05 41 5b 59 c3";

function world(found: Uint8Array, built = new Uint8Array(4096)): FakeContext {
  const kernel = fakeKernel({ symbols: { hypercall_page: PAGE } });
  kernel.memory.put(at(PAGE), found);
  return fakeContext(kernel, fakeObject([{ name: ".text", start: PAGE, bytes: built, text: true }]));
}

describe("hypercall_page", () => {
  it.each([
    ["Xen on Intel", stubs(VMCALL, 1, 0xcc, "0f 0b")],
    ["Xen on AMD", stubs(VMMCALL, 1, 0xcc, "0f 0b")],
    ["Xen 4.1: ud2 over the stub", stubs(VMCALL, 1, 0xcc, "0f 0b 00 00 00 0f 01 c1 c3")],
    ["KVM in Xen's place", stubs(VMCALL, 1, 0xcc)],
    ["zeros behind the stubs", stubs(VMCALL, 1, 0, "0f 0b")],
    ["a PV guest", stubs(SYSCALL, 4, 0xcc, "51 41 53 50 b8 17 00 00 00 0f 05")],
  ])("is what %s wrote", (_what, found) => {
    const context = world(found);
    const list = applyHypercallPage(context);
    expect(list?.entries).toBe(128);
    expect(context.intended(PAGE, 4096)).toBe(toHex(found));
  });

  it("holds the built bytes where stubs leave room", () => {
    const built = new Uint8Array(4096);
    for (let i = 0; i < 4096; i++) built[i] = i % 32 === 0 ? 0xc3 : i & 0x7f;
    const found = built.slice();
    const filled = stubs(VMCALL, 1, 0);
    for (let i = 0; i < 4096; i++) if (i % 32 < 9) found[i] = filled[i];
    const context = world(found, built);
    applyHypercallPage(context);
    expect(context.intended(PAGE, 4096)).toBe(toHex(found));
  });

  it.each([
    ["another number", 29 * 32 + 1, 0x20, `b8 1d 00 00 00 0f 01 c1 c3 ${"cc ".repeat(23).trim()}`],
    ["another instruction", 29 * 32 + 7, 0xd9, `b8 1d 00 00 00 0f 01 c1 c3 ${"cc ".repeat(23).trim()}`],
    ["code behind the stub", 29 * 32 + 20, 0x90, `b8 1d 00 00 00 0f 01 c1 c3 ${"cc ".repeat(23).trim()}`],
    ["code behind iret's", IRET * 32 + 8, 0x90, `0f 0b ${"cc ".repeat(30).trim()}`],
  ])("does not take %s for the hypervisor's", (_what, offset, byte, intended) => {
    const found = stubs(VMCALL, 1, 0xcc, "0f 0b");
    found[offset] = byte;
    const context = world(found);
    applyHypercallPage(context);
    expect(context.intended(PAGE + (offset & ~31), 32)).toBe(intended);
  });

  it("tells which hypercall a stub is for, and that it was built empty", () => {
    const details = applyHypercallPage(world(stubs(VMCALL, 1, 0xcc)))?.describe(29);
    expect(details?.reason).toBe("the hypervisor's stub for hypercall 29, by VMCALL as in most others");
    expect(details?.forms.map((form) => toHex(form.bytes))).toEqual([toHex(new Uint8Array(32))]);
  });

  it("is left as built when no hypervisor filled it, and when other code lies there", () => {
    expect(applyHypercallPage(world(new Uint8Array(4096)))).toBeUndefined();
    expect(applyHypercallPage(world(stubs("b8 00 00 00 00 0f 34 90 c3", 1, 0xcc)))).toBeUndefined();
  });

  it("is nothing to a kernel without it, and to one whose page is not in the dump", () => {
    const object = fakeObject([{ name: ".text", start: PAGE, bytes: new Uint8Array(4096), text: true }]);
    expect(applyHypercallPage(fakeContext(fakeKernel(), object))).toBeUndefined();
    expect(applyHypercallPage(fakeContext(fakeKernel({ symbols: { hypercall_page: PAGE } }), object))).toBeUndefined();
  });
});
