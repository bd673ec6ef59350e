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
