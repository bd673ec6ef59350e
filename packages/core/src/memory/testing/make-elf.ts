// Small made-up ELF cores for the tests of this room and of the rooms above it.

export interface ElfPart {
  /** PT_LOAD 1, PT_NOTE 4. */
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly virtual?: bigint;
  readonly physical?: bigint;
  readonly fileSize?: bigint;
  readonly memorySize?: bigint;
}

/** One ELF note, padded to 4 bytes. */
export function note(name: string, type: number, desc: Uint8Array): Uint8Array {
  const nameSize = name.length + 1;
  const descAt = 12 + Math.ceil(nameSize / 4) * 4;
  const out = new Uint8Array(descAt + Math.ceil(desc.length / 4) * 4);
  const view = new DataView(out.buffer);
  view.setUint32(0, nameSize, true);
  view.setUint32(4, desc.length, true);
  view.setUint32(8, type, true);
  for (let i = 0; i < name.length; i++) out[12 + i] = name.charCodeAt(i);
  out.set(desc, descAt);
  return out;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** An ELF64 x86-64 core of these parts, each at the next file offset. `type` 4 is ET_CORE. */
export function makeElf(parts: readonly ElfPart[], type = 4): Uint8Array {
  const head = new Uint8Array(64 + parts.length * 56);
  const view = new DataView(head.buffer);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, type, true);
  view.setUint16(18, 62, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, parts.length, true);
  view.setUint16(58, 64, true);
  let offset = head.length;
  parts.forEach((part, i) => {
    const at = 64 + i * 56;
    view.setUint32(at, part.type, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 16, part.virtual ?? 0n, true);
    view.setBigUint64(at + 24, part.physical ?? 0n, true);
    view.setBigUint64(at + 32, part.fileSize ?? BigInt(part.bytes.length), true);
    view.setBigUint64(at + 40, part.memorySize ?? part.fileSize ?? BigInt(part.bytes.length), true);
    offset += part.bytes.length;
  });
  return concat([head, ...parts.map((part) => part.bytes)]);
}

/** A QEMUCPUState v1 note with these registers; the rest zero. */
export function qemuNote(registers: {
  rip?: bigint;
  cs?: number;
  cr0?: bigint;
  cr3?: bigint;
  cr4?: bigint;
}): Uint8Array {
  const desc = new Uint8Array(440);
  const view = new DataView(desc.buffer);
  view.setUint32(0, 1, true);
  view.setUint32(4, 440, true);
  view.setBigUint64(8 + 16 * 8, registers.rip ?? 0n, true);
  view.setUint32(152, registers.cs ?? 0x10, true);
  view.setBigUint64(152 + 4 * 24 + 16, 0xffff888000000000n, true); // gs base
  view.setBigUint64(392, registers.cr0 ?? 0x80050033n, true);
  view.setBigUint64(392 + 24, registers.cr3 ?? 0n, true);
  view.setBigUint64(392 + 32, registers.cr4 ?? 0x6f0n, true);
  view.setBigUint64(432, 0x1234n, true);
  return note("QEMU", 0, desc);
}

/** An NT_PRSTATUS note: pid and rip. */
export function prstatusNote(pid: number, rip: bigint): Uint8Array {
  const desc = new Uint8Array(336);
  const view = new DataView(desc.buffer);
  view.setUint32(32, pid, true);
  view.setBigUint64(112 + 16 * 8, rip, true);
  return note("CORE", 1, desc);
}

/** `pages` pages, each byte telling its page and place, so that a mix-up shows. */
export function testPages(pages: number, seed = 0): Uint8Array {
  const out = new Uint8Array(pages * 4096);
  for (let i = 0; i < out.length; i++) out[i] = (seed + (i >>> 12) * 37 + (i & 0xfff) * 7 + (i >>> 8)) & 0xff;
  return out;
}
