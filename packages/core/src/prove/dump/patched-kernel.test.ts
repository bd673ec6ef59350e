// Presets over a kernel's memory: every way of reading sees them, the memory itself stays.
import { expect, test } from "vitest";
import type { VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { patchedKernel } from "./patched-kernel.ts";

const at = (address: number): VirtualAddress => BigInt(address) as VirtualAddress;

test("overlapping, partial and later presets; the dump's own bytes stay", () => {
  const held = Uint8Array.from({ length: 64 }, (_, i) => i);
  const read = (address: VirtualAddress, length: number) => held.slice(Number(address), Number(address) + length);
  const kernel = { memory: { read, tryRead: read }, release: "3.0.1" } as unknown as Kernel;
  expect(patchedKernel(kernel, [])).toBe(kernel);
  const { memory, release } = patchedKernel(kernel, [
    { address: 20n, bytes: Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x11, 0x22) },
    { address: 4n, bytes: Uint8Array.of(0x80) },
    { address: 22n, bytes: Uint8Array.of(0x77) },
  ]);
  expect(release).toBe("3.0.1");
  expect([...memory.read(at(2), 4)]).toEqual([2, 3, 0x80, 5]);
  expect([...(memory.tryRead(at(26), 4) ?? [])]).toEqual([0x11, 0x22, 28, 29]);
  expect(memory.u64(at(20))).toBe(0x2211ffeedd77bbaan);
  expect(memory.pointer(at(20))).toBe(0x2211ffeedd77bbaan);
  expect([memory.u8(at(4)), memory.u16(at(4)), memory.u32(at(26)), memory.i32(at(1))]).toEqual([
    0x80,
    0x580,
    0x1d1c2211,
    0x800302 * 256 + 1 - 2 ** 32,
  ]);
  expect(held[20]).toBe(20);
});
