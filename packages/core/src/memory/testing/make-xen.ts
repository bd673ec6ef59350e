// Small made-up Xen dump-cores for the tests of this room and of the rooms above it.
import { ascii, concat, note } from "./make-elf.ts";

const PAGE = 4096;

export interface XenPlan {
  /** Pages in the order of the file: frame number (machine frame of a PV guest) and bytes; no frame: an unused entry. */
  readonly pages: readonly { readonly frame?: bigint; readonly bytes: Uint8Array }[];
  readonly paravirtual?: boolean;
  readonly vcpus?: readonly Uint8Array[];
  /** The header note's number of vCPUs and its page size, when not the truth. */
  readonly claimedVcpus?: bigint;
  readonly pageSize?: bigint;
  readonly magic?: bigint;
  readonly entrySize?: number;
  readonly omit?: string;
}

/** A `struct vcpu_guest_context` with these registers. */
export function vcpu(
  r: Partial<Record<"rip" | "rsp" | "cs" | "flags" | "cr3" | "cr4" | "gsKernel" | "gsUser", bigint>>,
) {
  const bytes = new Uint8Array(5168);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(512, r.flags ?? 0x21n, true);
  view.setBigUint64(520, 0xf15n, true); // r15
  view.setBigUint64(520 + 10 * 8, 0xaan, true); // rax
  view.setBigUint64(520 + 16 * 8, r.rip ?? 0n, true);
  view.setBigUint64(520 + 17 * 8, (r.cs ?? 0x10n) | (1n << 32n), true); // saved_upcall_mask beside cs
  view.setBigUint64(520 + 18 * 8, 0x246n, true);
  view.setBigUint64(520 + 19 * 8, r.rsp ?? 0n, true);
  view.setBigUint64(4984, 0x80050033n, true);
  view.setBigUint64(4984 + 24, r.cr3 ?? 0n, true);
  view.setBigUint64(4984 + 32, r.cr4 ?? 0x6f0n, true);
  view.setBigUint64(5144, 0xf5n, true);
  view.setBigUint64(5152, r.gsKernel ?? 0n, true);
  view.setBigUint64(5160, r.gsUser ?? 0n, true);
  return bytes;
}

/** An `xl dump-core` file. */
export function makeXenCore(plan: XenPlan): Uint8Array {
  const { pages, paravirtual = false, vcpus = [] } = plan;
  const header = new BigUint64Array([
    plan.magic ?? (paravirtual ? 0xf00febedn : 0xf00febeen),
    plan.claimedVcpus ?? BigInt(vcpus.length),
    BigInt(pages.length),
    plan.pageSize ?? BigInt(PAGE),
  ]);
  const version = new Uint8Array(1280);
  version.set([4, 0, 0, 0, 0, 0, 0, 0, 17]);
  version.set(ascii(".5-pre"), 16);
  version.set(ascii("xen-3.0-x86_64 "), 176);
  const notes = concat([
    note("Xen", 0x2000000, new Uint8Array()),
    note("Xen", 0x2000001, new Uint8Array(header.buffer)),
    note("Xen", 0x2000002, version),
  ]);
  const none = 0xffffffffffffffffn;
  const list = pages.flatMap(({ frame }, i) =>
    paravirtual ? [frame === undefined ? none : BigInt(i), frame ?? none] : [frame ?? none],
  );
  const all: [string, number, Uint8Array, number][] = [
    [".note.Xen", 7, notes, 0],
    [".xen_prstatus", 1, concat([...vcpus]), plan.entrySize ?? 5168],
    [".xen_pages", 1, concat(pages.map(({ bytes }) => bytes)), PAGE],
    [paravirtual ? ".xen_p2m" : ".xen_pfn", 1, new Uint8Array(BigUint64Array.from(list).buffer), paravirtual ? 16 : 8],
  ];
  const sections = all.filter(([name]) => name !== plan.omit);
  const names = ascii(`\0.shstrtab\0${sections.map(([name]) => `${name}\0`).join("")}`);
  const text = String.fromCharCode(...names);
  const head = new Uint8Array(64 + (sections.length + 2) * 64);
  const view = new DataView(head.buffer);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 4, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(40, 64n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, sections.length + 2, true);
  view.setUint16(62, 1, true);
  let offset = head.length;
  const put = (index: number, name: string, type: number, length: number, entrySize: number) => {
    const at = 64 + index * 64;
    view.setUint32(at, text.indexOf(`${name}\0`), true);
    view.setUint32(at + 4, type, true);
    view.setBigUint64(at + 24, BigInt(offset), true);
    view.setBigUint64(at + 32, BigInt(length), true);
    view.setBigUint64(at + 56, BigInt(entrySize), true);
    offset += length;
  };
  put(1, ".shstrtab", 3, names.length, 0);
  sections.forEach(([name, type, bytes, entrySize], i) => {
    put(i + 2, name, type, bytes.length, entrySize);
  });
  return concat([head, names, ...sections.map(([, , bytes]) => bytes)]);
}
