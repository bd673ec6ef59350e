// The image as a build makes it: a stripped vmlinux with its KASLR relocation table behind it, packed into a bzImage.
import { gzipSync } from "node:zlib";
import { alignUp, ByteWriter } from "../bytes.ts";
import type { LinkedCore, OutputSection } from "../object/link-core.ts";
import { type ElfSectionInput, type ElfSegmentInput, writeElf } from "./elf-writer.ts";

const START_KERNEL_MAP = 0xffffffff80000000n;
const HUGE = 2 << 20;
const PT_LOAD = 1;
const PT_NOTE = 4;
const NOBITS = 8;
const R = 4;
const W = 2;
const X = 1;

/** Segments as arch/x86/kernel/vmlinux.lds.S: text, data, percpu, init. Each is begun by the section named. */
const SEGMENTS: Readonly<Record<string, number>> = {
  ".text": R | X,
  ".data": R | W,
  ".data..percpu": R | W,
  ".init.text": R | W | X,
};

/** An ET_EXEC vmlinux without symbol table, each segment at a file offset congruent to its address modulo 2 MiB. */
export function writeVmlinux(core: LinkedCore): Uint8Array {
  const sections: ElfSectionInput[] = [];
  const segments: { type: number; flags: number; sections: { s: OutputSection; offset: number }[] }[] = [];
  let end = HUGE;
  for (const s of core.sections) {
    const flags = SEGMENTS[s.name];
    if (flags !== undefined) {
      end += (Number(s.address % BigInt(HUGE)) - (end % HUGE) + HUGE) % HUGE;
      segments.push({ type: PT_LOAD, flags, sections: [] });
    }
    const current = segments[segments.length - 1];
    const first = current.sections[0];
    const offset = first ? first.offset + Number(s.address - first.s.address) : end;
    current.sections.push({ s, offset });
    if (s.type === 7) segments.splice(-1, 0, { type: PT_NOTE, flags: R, sections: [{ s, offset }] });
    sections.push({ ...s, bytes: s.bytes, offset });
    if (s.type !== NOBITS) end = offset + s.size;
  }
  const order = [...segments.filter((p) => p.type === PT_LOAD), ...segments.filter((p) => p.type === PT_NOTE)];
  const headers = order.map((p): ElfSegmentInput => {
    const first = p.sections[0];
    const last = p.sections[p.sections.length - 1];
    const stored = p.sections.filter(({ s }) => s.type !== NOBITS);
    const lastStored = stored[stored.length - 1];
    return {
      type: p.type,
      flags: p.flags,
      offset: first.offset,
      virtual: first.s.address,
      physical: first.s.loadAddress - START_KERNEL_MAP,
      fileSize: lastStored.offset + lastStored.s.size - first.offset,
      memorySize: last.offset + last.s.size - first.offset,
      align: p.type === PT_LOAD ? HUGE : 4,
    };
  });
  return writeElf({ type: 2, entry: 0x1000000n, segments: headers, sections });
}

/** vmlinux.relocs up to 6.14: 0, abs64 …, 0, inverse32 …, 0, abs32 …; u32 link addresses, ascending in each group. */
export function writeRelocations(core: LinkedCore): Uint8Array {
  const w = new ByteWriter();
  const { abs64, inverse32, abs32 } = core.relocations;
  for (const group of [abs64, inverse32, abs32]) {
    w.u32(0);
    const sorted = [...group].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    for (const address of sorted) w.u32(Number(BigInt.asUintN(32, address)));
  }
  return w.take();
}

const SETUP_SECTORS = 3;

/**
 * Packs a vmlinux (and what follows it) into a bzImage of boot protocol 2.15 with a gzip payload.
 * @param version what the setup header's kernel_version points at
 */
export function writeBzImage(vmlinux: Uint8Array, relocations: Uint8Array, version: string): Uint8Array {
  const whole = new Uint8Array(vmlinux.length + relocations.length);
  whole.set(vmlinux);
  whole.set(relocations, vmlinux.length);
  const payload = gzipSync(whole, { level: 6 });
  const stub = 0x2cc;
  const code = alignUp(stub + payload.length, 16);
  const w = new ByteWriter().zeros((SETUP_SECTORS + 1) * 512);
  w.patch(0, [0x4d, 0x5a]);
  const versionAt = 0x300;
  w.patch(
    versionAt,
    [...`${version}\0`].map((c) => c.charCodeAt(0)),
  );
  const header = new ByteWriter()
    .u8(SETUP_SECTORS)
    .u16(1)
    .u32(code / 16)
    .u16(0)
    .u16(0xffff)
    .u16(0)
    .u16(0xaa55);
  header
    .bytes([0xeb, 0x6a])
    .text("HdrS")
    .u16(0x20f)
    .u32(0)
    .u16(0x1000)
    .u16(versionAt - 0x200);
  header.u8(0).u8(1).u16(0x8000).u32(0x100000).u32(0).u32(0).u32(0).u16(0).u8(0).u8(0).u32(0);
  header.u32(0x7fffffff).u32(0x200000).u8(1).u8(0x15).u16(0x3f).u32(2047).u32(0).u64(0);
  header.u32(stub).u32(payload.length).u64(0).u64(0x1000000).u32(alignUp(whole.length, 4096)).u32(0).u32(0);
  w.patch(0x1f1, header.take());
  // The decompressor's place: it never runs here.
  w.fill(stub, 0xcc).bytes(payload).align(16);
  return w.take();
}
