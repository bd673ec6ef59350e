// Code as the machine runs it: each address decoded once by iced-x86 and turned into a closure. What is not in the
// tables is refused with its address and text, never guessed.
import * as iced from "iced-x86";
import { formatAddress, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { AddressError, UnsupportedError } from "../../bytes/errors.ts";
import type { CodeMemory } from "../types.ts";
import type { Semantics } from "./effects.ts";
import type { Effect, Operation } from "./operation.ts";
import { ARITHMETIC_SEMANTICS } from "./semantics-arithmetic.ts";
import { BIT_SEMANTICS } from "./semantics-bits.ts";
import { CONTROL_SEMANTICS, conditional } from "./semantics-control.ts";
import { EXCHANGE_SEMANTICS } from "./semantics-exchange.ts";
import { STRING_SEMANTICS } from "./semantics-strings.ts";

const TABLES: readonly Semantics[] = [
  ARITHMETIC_SEMANTICS,
  CONTROL_SEMANTICS,
  EXCHANGE_SEMANTICS,
  BIT_SEMANTICS,
  STRING_SEMANTICS,
];
const LONGEST_INSTRUCTION = 15;
const PAGE = 4096n;

/** Bytes at `address`, up to the longest instruction, fewer when the next page is absent. @throws AddressError */
function fetchBytes(memory: CodeMemory, address: VirtualAddress): Uint8Array {
  try {
    return memory.read(address, LONGEST_INSTRUCTION);
  } catch (error) {
    const left = Number(PAGE - (address % PAGE));
    if (!(error instanceof AddressError) || left >= LONGEST_INSTRUCTION) throw error;
    return memory.read(address, left);
  }
}

/** One instruction at `address`, AT&T syntax, e.g. "lock cmpxchg %edx,(%rdi)". */
export function disassemble(bytes: Uint8Array, address: bigint): string {
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  decoder.ip = address;
  const instruction = decoder.decode();
  const formatter = new iced.Formatter(iced.FormatterSyntax.Gas);
  formatter.hexPrefix = "0x";
  formatter.hexSuffix = "";
  formatter.uppercaseHex = false;
  try {
    return instruction.isInvalid ? "(bad)" : formatter.format(instruction);
  } finally {
    formatter.free();
    instruction.free();
    decoder.free();
  }
}

function effectOf(instruction: iced.Instruction, address: string, bytes: Uint8Array): Effect {
  const { mnemonic } = instruction;
  try {
    const builder = TABLES.map((t) => t.get(mnemonic)).find((b) => b !== undefined) ?? conditional(instruction);
    if (builder === undefined) throw new UnsupportedError(address, `instruction ${iced.Mnemonic[mnemonic]}`);
    return builder(instruction, address);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    throw new UnsupportedError(`${address}: ${disassemble(bytes, instruction.ip)}`, error.feature);
  }
}

/**
 * Decodes the instruction at `ip`.
 * @throws UnsupportedError naming address and disassembly for what the machine does not know
 */
export function decodeOperation(bytes: Uint8Array, ip: bigint): Operation {
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  decoder.ip = ip;
  const instruction = decoder.decode();
  try {
    const address = formatAddress(ip);
    if (instruction.isInvalid) throw new UnsupportedError(address, "an undecodable instruction");
    const used = bytes.slice(0, instruction.length);
    // The REP prefix of "rep ret", "rep nop" and of bsf means nothing; semantics-strings.ts looks at it.
    return { ...effectOf(instruction, address, used), address: ip, next: instruction.nextIP, bytes: used };
  } finally {
    instruction.free();
    decoder.free();
  }
}

/** Decoded code over a memory, each address once. Code that was seen stays as it was: lock code does not patch itself. */
export class Code {
  private readonly operations = new Map<bigint, Operation>();
  constructor(private readonly memory: CodeMemory) {}

  /** @throws UnsupportedError, AddressError */
  at(address: bigint): Operation {
    let operation = this.operations.get(address);
    if (operation === undefined) {
      operation = decodeOperation(fetchBytes(this.memory, virtualAddress(address)), address);
      this.operations.set(address, operation);
    }
    return operation;
  }
}
