// Whether a place can be entered at all: mapped, code and not data, and the beginning of an instruction. What is run from
// anywhere else would be a verdict on nothing.
import { formatAddress, type VirtualAddress } from "../../bytes/brand.ts";
import { AddressError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { nameAddress } from "../../symbols/place.ts";
import { disassemble } from "../../x86/disassemble.ts";

/** Text of a function that is decoded from its start to find where instructions begin. */
const MAX_FUNCTION = 1 << 16;
const LONGEST_INSTRUCTION = 15;

/** Reader-writer locks' shared side. */
const READERS = /^_*(raw_)?(read_(try)?lock|down_read|percpu_down_read|rt_read_(try)?lock)/;

/** Why nothing can be run from there, with the place; undefined when it can. */
export function entryProblem(
  kernel: Kernel,
  address: VirtualAddress,
  side: "lock" | "unlock" | "function",
): string | undefined {
  const place = `the ${side} at ${formatAddress(address)}`;
  const named = `${place} (${nameAddress(kernel.allSymbols, address)})`;
  try {
    kernel.memory.read(address, 1);
    if (!kernel.memory.translate(address).executable) return `${named} is no code: its page is not executable`;
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    return `${place} cannot be read: ${error.message}`;
  }
  const here = kernel.allSymbols.at(address);
  if (here.length > 0 && here.every((symbol) => /^[dDbBrR]$/.test(symbol.type)))
    return `${named} is no code: ${here[0].name} is data`;
  if (side !== "function" && here.some(({ name }) => READERS.test(name)))
    return `${named} is a reader's: several may hold the lock at once, so that nothing said here would fit`;
  const inside = instructionAround(kernel, address);
  return inside === undefined ? undefined : `${named} is in the middle of an instruction: ${inside}`;
}

/** The instruction that begins before the address and reaches over it, decoding from the function's start. */
function instructionAround(kernel: Kernel, address: VirtualAddress): string | undefined {
  const near = kernel.allSymbols.nearest(address);
  if (near === undefined || near.offset === 0 || near.offset > MAX_FUNCTION || !/^[tTwW]$/.test(near.symbol.type))
    return undefined;
  const bytes = kernel.memory.tryRead(near.symbol.address, near.offset + LONGEST_INSTRUCTION);
  if (bytes === undefined) return undefined;
  for (const line of disassemble(bytes, near.symbol.address)) {
    const end = line.address + BigInt(line.bytes.length);
    // Behind bytes that are no instruction nobody knows where the next one begins.
    if (line.address >= address || line.invalid) return undefined;
    if (end > address)
      return `${formatAddress(line.address)} ${nameAddress(kernel.allSymbols, line.address)}: ${line.text}`;
  }
  return undefined;
}
