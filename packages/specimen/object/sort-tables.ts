// What scripts/sorttable does after the link: __mcount_loc and the ORC tables in address order, since the kernel
// searches them by bisection.
import type { LinkedCore } from "./link-core.ts";

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function sortMcount(core: LinkedCore): void {
  const from = core.symbols.get("__start_mcount_loc")?.address;
  const to = core.symbols.get("__stop_mcount_loc")?.address;
  if (from === undefined || to === undefined) return;
  const section = core.section(".init.data");
  const v = view(section.bytes);
  const start = Number(from - section.address);
  const values = Array.from({ length: Number(to - from) / 8 }, (_, i) => v.getBigUint64(start + 8 * i, true));
  values.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [i, value] of values.entries()) v.setBigUint64(start + 8 * i, value, true);
}

/** Sorts an .orc_unwind_ip / .orc_unwind pair whose first byte lies at `address`. */
export function sortOrc(ipBytes: Uint8Array, orcBytes: Uint8Array, address: bigint): void {
  const ip = view(ipBytes);
  const entries = Array.from({ length: ipBytes.length / 4 }, (_, i) => ({
    target: address + BigInt(4 * i) + BigInt(ip.getInt32(4 * i, true)),
    orc: orcBytes.slice(6 * i, 6 * i + 6),
  }));
  // At one address an entry that describes code wins over the end of the function before: it comes last.
  const gap = (e: { orc: Uint8Array }) => (e.orc.every((b) => b === 0) ? 0 : 1);
  entries.sort((a, b) => (a.target < b.target ? -1 : a.target > b.target ? 1 : gap(a) - gap(b)));
  entries.forEach((e, i) => {
    ip.setInt32(4 * i, Number(e.target - address - BigInt(4 * i)), true);
    orcBytes.set(e.orc, 6 * i);
  });
}

export function sortTables(core: LinkedCore): void {
  sortMcount(core);
  const ip = core.sections.find((s) => s.name === ".orc_unwind_ip");
  const orc = core.sections.find((s) => s.name === ".orc_unwind");
  if (ip && orc) sortOrc(ip.bytes, orc.bytes, ip.address);
}
