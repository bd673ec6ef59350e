// Addresses are branded bigints, so that a file offset, a length or a physical address can never be handed
// over where a virtual address is meant. Hot loops use plain numbers as offsets from a branded base.

/** A kernel virtual address (C: `unsigned long`). */
export type VirtualAddress = bigint & { readonly __brand: "VirtualAddress" };
/** A machine's physical address (C: `phys_addr_t`). For a Xen HVM guest: guest-physical. */
export type PhysicalAddress = bigint & { readonly __brand: "PhysicalAddress" };

const MASK64 = (1n << 64n) - 1n;

/** Makes a virtual address; wraps modulo 2^64, as the processor does. */
export function virtualAddress(value: bigint): VirtualAddress {
  return (value & MASK64) as VirtualAddress;
}

/** Makes a physical address out of a non-negative bigint. */
export function physicalAddress(value: bigint): PhysicalAddress {
  return (value & MASK64) as PhysicalAddress;
}

/** `address` + `offset` (bytes, may be negative), modulo 2^64. */
export function addressAdd(address: VirtualAddress, offset: bigint | number): VirtualAddress {
  return virtualAddress(address + BigInt(offset));
}

/** "0xffffffff81000000": the one way in which addresses are shown and put into JSON. */
export function formatAddress(address: bigint): string {
  return `0x${address.toString(16).padStart(16, "0")}`;
}

/**
 * `__START_KERNEL_map`: the kernel image and all modules live in the 2 GiB from here to the top. Code that
 * handles hundreds of thousands of sites keeps a KernelOffset, a plain number counted from this base.
 * arch/x86/include/asm/page_64_types.h, every release.
 */
export const KERNEL_MAP_BASE = 0xffffffff80000000n as VirtualAddress;

/** Bytes from KERNEL_MAP_BASE: 0 … 0x7fffffff for kernel and module addresses. Never an address by itself. */
export type KernelOffset = number;

/** The offset of `address` from KERNEL_MAP_BASE; undefined when the address is not in the top 2 GiB. */
export function toKernelOffset(address: bigint): KernelOffset | undefined {
  return address >= KERNEL_MAP_BASE && address < 1n << 64n ? Number(address - KERNEL_MAP_BASE) : undefined;
}

/** The address at an offset from KERNEL_MAP_BASE. */
export function fromKernelOffset(offset: KernelOffset): VirtualAddress {
  return virtualAddress(KERNEL_MAP_BASE + BigInt(offset));
}
