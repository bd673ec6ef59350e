// Unwinds the idle CPUs' stacks by the ORC tables in the dump, with the rules of arch/x86/kernel/unwind_orc.c written
// out once more: the specimen's tables and stacks must fit each other.
import { expect, test } from "vitest";
import { virtualAddress } from "../../core/src/bytes/brand.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import type { Kernel } from "../../core/src/kernel/kernel.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { openDump } from "../../core/src/memory/open.ts";
import { makeSpecimen } from "./specimen.ts";

/** The entry that covers an address: {sp_offset, bp_offset, sp_reg, bp_reg, end}. */
function orcOf(kernel: Kernel, address: bigint) {
  const ips = kernel.address("__start_orc_unwind_ip");
  const count = Number(kernel.address("__stop_orc_unwind_ip") - ips) / 4;
  let found = -1;
  for (let i = 0; i < count; i++) {
    const at = virtualAddress(ips + BigInt(4 * i));
    if (at + BigInt(kernel.memory.i32(at)) <= address) found = i;
  }
  const entry = kernel.memory.read(virtualAddress(kernel.address("__start_orc_unwind") + BigInt(6 * found)), 6);
  const v = new DataView(entry.buffer, entry.byteOffset);
  const flags = v.getUint16(4, true);
  const [spReg, bpReg, end] = [flags & 15, (flags >> 4) & 15, (flags >> 10) & 1];
  return { spOffset: v.getInt16(0, true), bpOffset: v.getInt16(2, true), spReg, bpReg, end };
}

function unwind(kernel: Kernel, rip: bigint, rsp: bigint, rbp: bigint): string[] {
  const name = (a: bigint) => kernel.symbols.nearest(virtualAddress(a))!.symbol.name;
  const out = [name(rip)];
  for (let ip = rip, sp = rsp, bp = rbp, first = true; out.length < 30; first = false) {
    const orc = orcOf(kernel, first ? ip : ip - 1n);
    if (orc.spReg === 0) {
      expect(orc.end).toBe(1);
      return out;
    }
    const cfa = (orc.spReg === 5 ? sp : bp) + BigInt(orc.spOffset);
    ip = kernel.memory.u64(virtualAddress(cfa - 8n));
    if (orc.bpReg === 1) bp = kernel.memory.u64(virtualAddress(cfa + BigInt(orc.bpOffset)));
    sp = cfa;
    out.push(name(ip - 1n));
  }
  return out;
}

test.each([{}, { mitigations: true }])("%j: ORC leads from native_safe_halt to the start of each thread", (options) => {
  const specimen = makeSpecimen(options);
  const kernel = openKernel(openDump(new BufferSource("specimen", specimen.dump)));
  const stacks = kernel.dump.cpus.map(({ registers: r }) => unwind(kernel, r.rip, r.rsp, r.rbp));
  expect(stacks).toEqual(specimen.truth.stacks);
});
