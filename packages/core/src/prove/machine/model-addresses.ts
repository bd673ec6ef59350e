// Addresses that belong to the model and not to the kernel: stacks, the pending flags of the environment, the counter
// of the critical section. They lie in the user half, where kernel code has no business.
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";

const REGION = 0x7dn;
const BASE = REGION << 40n;
const STACK_SIZE = 0x10000n;

/** True for memory that the model made up: it starts as zeros and is never read from the dump. */
export function isModelAddress(address: bigint): boolean {
  return address >> 40n === REGION;
}

/** Where RSP stands before the entry's return address is pushed. */
export function stackTop(cpu: number): bigint {
  return BASE + 0x1_0000_0000n + BigInt(cpu + 1) * STACK_SIZE;
}

export function isOwnStack(cpu: number, address: bigint): boolean {
  const top = stackTop(cpu);
  return address < top && address >= top - STACK_SIZE;
}

/** The CPU's pending flag: 8 bytes, 0 or 1. */
export function pendingFlag(cpu: number): bigint {
  return BASE + 0x2_0000_0000n + BigInt(cpu) * 8n;
}

/** What the critical section adds one to: 8 bytes. */
export const COUNTER = BASE + 0x3_0000_0000n;
/** Where a called function returns to. */
export const RETURN_ADDRESS = BASE + 0x4_0000_0000n;
/** A place for a lock word when the code takes the lock's address in a register. */
export const LOCK_ADDRESS: VirtualAddress = virtualAddress(BASE + 0x5_0000_0000n);

/** A register that the scenario does not define: not canonical, so that using it as an address fails at once. */
export function poison(register: number): bigint {
  return 0xdead_0000_0000_0000n + BigInt(register);
}

/** "stack of CPU 1" …, for output; undefined for addresses that are not the model's. */
export function modelName(address: bigint): string | undefined {
  if (!isModelAddress(address)) return undefined;
  if (address === RETURN_ADDRESS) return "(return)";
  if (address >> 32n === COUNTER >> 32n) return "(critical section's counter)";
  if (address >> 32n === LOCK_ADDRESS >> 32n) return "(lock)";
  if (address >> 32n === pendingFlag(0) >> 32n) return `(pending flag of CPU ${Number((address & 0xffn) / 8n)})`;
  for (let cpu = 0; cpu < 32; cpu++) if (isOwnStack(cpu, address)) return `(stack of CPU ${cpu})`;
  return "(memory of the scenario)";
}
