import { expect, it } from "vitest";
import { physicalAddress } from "../../bytes/brand.ts";
import { BufferSource } from "../../bytes/source.ts";
import { openDump } from "../open.ts";
import { pageTableRoots } from "../paging/page-table-roots.ts";
import { testPages } from "../testing/make-elf.ts";
import { makeXenCore, vcpu, type XenPlan } from "../testing/make-xen.ts";

const MEMORY = testPages(6);
const pageOf = (frame: number) => MEMORY.subarray(frame * 4096, (frame + 1) * 4096);
const page = (frame: number, bytes = pageOf(frame)) => ({ frame: BigInt(frame), bytes });
const hole = { bytes: new Uint8Array(4096) };
const open = (bytes: Uint8Array) => openDump(new BufferSource("core", bytes));
const core = (rest: Partial<XenPlan> = {}) =>
  makeXenCore({ pages: [page(0), page(1), page(4), page(5), hole], ...rest });

it("reads the memory of an HVM guest", () => {
  const dump = open(core());
  expect(dump.format).toBe("xen-core");
  expect(dump.physical.ranges).toEqual([
    { start: 0n, length: 0x2000n },
    { start: 0x4000n, length: 0x2000n },
  ]);
  expect(dump.physical.page(4)).toEqual(pageOf(4));
  expect(dump.physical.page(2)).toBeUndefined();
  const into = new Uint8Array(0x6000);
  const absent: number[] = [];
  dump.physical.read(physicalAddress(0n), into, (offset, length) => absent.push(offset, length));
  expect(absent).toEqual([0x2000, 0x2000]);
  expect(into.subarray(0x4000)).toEqual(MEMORY.subarray(0x4000));
  expect(dump.header).toEqual({ xenGuest: "HVM", xenVersion: "4.17.5-pre", xenCapabilities: "xen-3.0-x86_64" });
  expect(dump.problems).toEqual([]);
});

it("reads registers, the active GS base first", () => {
  const kernel = vcpu({ rip: 0xffffffff81000010n, rsp: 0x77n, cr3: 0x2000n, gsKernel: 0xabcn, gsUser: 0xdefn });
  const user = vcpu({ cs: 0x33n, cr3: 0x5000n, gsKernel: 0xabcn, gsUser: 0xdefn, flags: 1n });
  const dump = open(core({ vcpus: [kernel, user] }));
  expect(dump.cpus[0]).toMatchObject({ index: 0, source: "xen" });
  expect(dump.cpus[0].registers).toMatchObject({
    ...{ rip: 0xffffffff81000010n, rsp: 0x77n, rflags: 0x246n, cs: 0x10, cr3: 0x2000n, cr4: 0x6f0n },
    ...{ fsBase: 0xf5n, gsBase: 0xabcn, kernelGsBase: 0xdefn },
  });
  expect(dump.cpus[0].registers.general).toMatchObject({ r15: 0xf15n, rax: 0xaan, cs: 0x10n });
  expect(dump.cpus[1].registers).toMatchObject({ cs: 0x33, gsBase: 0xdefn, kernelGsBase: 0xabcn });
  expect(dump.problems).toEqual(["core: .xen_prstatus: vCPU 1 was down; its registers are old"]);
  expect(pageTableRoots(dump).map(({ root }) => root)).toEqual([0x2000n, 0x4000n, 0x5000n]);
});

it("keys the memory of a PV guest by machine frame, as its page tables do", () => {
  const vcpus = [vcpu({ cs: 0xe033n, cr3: 0x5000n, flags: 0x25n, gsKernel: 1n, gsUser: 2n })];
  const dump = open(core({ paravirtual: true, vcpus, pages: [page(5), page(4), page(1), hole] }));
  expect(dump.format).toBe("xen-core-p2m");
  for (const frame of [1, 4, 5]) expect(dump.physical.page(frame)).toEqual(pageOf(frame));
  expect(dump.physical.page(0)).toBeUndefined();
  expect(dump.cpus[0].registers).toMatchObject({ gsBase: 1n, kernelGsBase: 2n });
  expect(pageTableRoots(dump).map(({ root, levels }) => [root, levels])).toEqual([[0x5000n, 4]]);
});

it.each<[string, Partial<XenPlan>, string]>([
  ["no pages", { omit: ".xen_pages" }, "without program headers and without Xen's sections"],
  ["no notes", { omit: ".note.Xen" }, "without Xen's sections"],
  ["no frame list", { omit: ".xen_pfn" }, "core: section headers: no section .xen_pfn"],
  [
    "no frame list of a PV guest",
    { paravirtual: true, omit: ".xen_p2m" },
    "core: section headers: no section .xen_p2m",
  ],
  [
    "frames that cannot be, all of them",
    { pages: [{ frame: 1n << 41n, bytes: pageOf(3) }] },
    "no page has a frame number",
  ],
  ["a wrong magic", { magic: 0x1234n }, "note Xen type 33554433+0x0: magic 0x1234"],
  ["large pages", { pageSize: 16384n }, "a page size of 16384 bytes is not supported"],
  ["only unused entries", { pages: [hole, hole] }, "core: .xen_pfn: no page has a frame number"],
])("refuses %s", (_name, rest, message) => {
  expect(() => open(core(rest))).toThrow(message);
});

it("reports frames that cannot be, other counts and other registers", () => {
  const far = { frame: 1n << 41n, bytes: pageOf(3) };
  const twice = [page(0), far, page(0, pageOf(1))];
  const dump = open(core({ pages: twice, vcpus: [vcpu({})], claimedVcpus: 1n << 40n }));
  expect(dump.physical.page(0)).toEqual(pageOf(0));
  expect(dump.problems).toEqual([
    "core: .xen_pfn: 1 frame numbers above 52 address bits",
    "core: .xen_prstatus: registers of 1 vCPUs, the header note says 1099511627776",
  ]);
  const compat = open(core({ vcpus: [vcpu({})], entrySize: 2800 }));
  expect(compat.cpus).toEqual([]);
  expect(compat.problems).toEqual(["core: .xen_prstatus: entries of 2800 bytes, not 5168: no registers"]);
});

it("reads as many pages as have frames, and as many frames as have pages", () => {
  const whole = core();
  const view = new DataView(whole.buffer, whole.byteOffset, whole.length);
  const at = Number(view.getBigUint64(40, true));
  /** Sets sh_size of the section that has it at that value. */
  const resize = (size: number, to: number): Uint8Array => {
    const bytes = whole.slice();
    const copy = new DataView(bytes.buffer);
    for (let i = 0; i < view.getUint16(60, true); i++) {
      if (Number(view.getBigUint64(at + i * 64 + 32, true)) === size)
        copy.setBigUint64(at + i * 64 + 32, BigInt(to), true);
    }
    return bytes;
  };
  const fewer = open(resize(5 * 8, 2 * 8 + 4));
  expect(fewer.problems).toEqual(["core: .xen_pfn: 2 frames for 5 pages"]);
  expect(fewer.incomplete).toBe(true);
  expect(fewer.physical.page(1)).toEqual(pageOf(1));
  expect(fewer.physical.page(4)).toBeUndefined();
  const short = open(resize(5 * 4096, 3 * 4096));
  expect(short.problems).toEqual(["core: .xen_pfn: 5 frames for 3 pages"]);
  expect(short.physical.page(4)).toEqual(pageOf(4));
  expect(short.physical.page(5)).toBeUndefined();
});

it("works without registers", () => {
  expect(open(core({ omit: ".xen_prstatus" })).cpus).toEqual([]);
});

it("says which part a truncated core lacks", () => {
  const whole = core({ vcpus: [vcpu({})] });
  expect(() => open(whole.subarray(0, whole.length - 10))).toThrow(
    /core: \.xen_pfn at 0x[0-9a-f]+: needs 40 bytes, only 30/,
  );
  expect(() => open(whole.subarray(0, 300))).toThrow(
    "core: section names of a core that ends at 0x12c: needs 384 bytes",
  );
});
