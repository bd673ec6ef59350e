// The question as users ask it: a lock and an unlock of a dump, by address. Says how each is entered, which lock word
// belongs to them, and hands the whole to the machine.
import { toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { Implementations } from "../../locks/code/implementation.ts";
import type { LockFamily } from "../../locks/types.ts";
import { decodeQspinlock } from "../../locks/words/qspinlock.ts";
import { SpinlockWords } from "../../locks/words/spinlock-word.ts";
import { decodeTicket } from "../../locks/words/ticket.ts";
import { decodeXenByte } from "../../locks/words/xen-byte.ts";
import { nameAddress } from "../../symbols/place.ts";
import { disassemble } from "../../x86/disassemble.ts";
import { LOCK_ADDRESS } from "../machine/model-addresses.ts";
import type { Entry, LockWord, MemoryModel, Preset, Proof } from "../types.ts";
import type { ProveOptions } from "../verdict/prove.ts";
import { proveLock } from "../verdict/prove-lock.ts";
import type { Scenario } from "../verdict/scenario.ts";
import { packWitness, type WitnessFile } from "../verdict/witness-file.ts";
import { dumpEnvironment } from "./dump-environment.ts";
import { entryProblem } from "./entry-check.ts";
import { patchedKernel } from "./patched-kernel.ts";

/** One side of the pair. */
export interface PairEnd {
  readonly address: VirtualAddress;
  /** Bytes of the site when the place lies inside a function; its instruction's length when left out. */
  readonly length?: number;
}

export interface DumpQuestion {
  readonly lock: PairEnd;
  readonly unlock: PairEnd;
  readonly cpus: number;
  readonly rounds: number;
  readonly model: MemoryModel;
  /** Bytes put over the dump: sites re-patched for a candidate repair. */
  readonly presets?: readonly Preset[];
  readonly spuriousWakeups?: boolean;
}

/** What was asked and what was made of it, beside the proof. */
export interface DumpProof {
  readonly proof: Proof;
  /** The witness with every byte that it needs, for --replay. */
  readonly file: WitnessFile | undefined;
  /** States and seconds over all numbers of CPUs. */
  readonly states: number;
  readonly seconds: number;
  readonly lock: string;
  readonly unlock: string;
  readonly families: readonly [LockFamily, LockFamily];
  readonly assumptions: readonly string[];
}

const isFunctionStart = (kernel: Kernel, address: VirtualAddress): boolean =>
  kernel.allSymbols.at(address).some((symbol) => /^[tTwW]$/.test(symbol.type));

/** A function is called; a place inside one runs from there to its end, with the lock's address in RDI as pv calls have it. */
function entryOf(kernel: Kernel, end: PairEnd, isUnlock: boolean): Entry {
  const registers: Record<string, bigint | "result"> = { rdi: LOCK_ADDRESS };
  // _raw_spin_unlock_irqrestore() takes the flags that the lock returned.
  if (isUnlock) registers.rsi = "result";
  else registers.rsi = 0n;
  if (isFunctionStart(kernel, end.address)) {
    const tries = !isUnlock && kernel.allSymbols.at(end.address).some(({ name }) => name.includes("trylock"));
    return { address: end.address, registers, tries };
  }
  const length = end.length ?? disassemble(kernel.memory.read(end.address, 16), end.address)[0].bytes.length;
  return { address: end.address, stopAt: [end.address + BigInt(length)], registers };
}

/** The lock word as the side that takes it has it; the other side's family where that one is unknown. */
function wordOf(words: SpinlockWords, families: readonly LockFamily[]): LockWord & { initial: Uint8Array } {
  const [taken, released] = families;
  const family = taken === "unknown" || taken === "none" ? released : taken;
  const said = (fields: Readonly<Record<string, string | number>>): string =>
    Object.entries(fields)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ");
  const word = { address: LOCK_ADDRESS, length: 4, initial: new Uint8Array(4) };
  switch (family) {
    case "ticket": {
      const layout = words.ticketLayout;
      const length = layout.half * 2;
      return {
        address: LOCK_ADDRESS,
        length,
        initial: new Uint8Array(length),
        free: "halves-equal",
        // TICKET_SLOWPATH_FLAG says nothing about free or taken: in the tail from 3.12 on, in the head since 4.0 (d6abfdb20223).
        ignoredBits: layout.step === 2 ? 1n | (1n << BigInt(8 * layout.half)) : undefined,
        describe: (bytes) => said(decodeTicket(bytes, layout, words.cpus).fields),
      };
    }
    case "byte":
      return { ...word, describe: (bytes) => said(decodeXenByte(bytes, words.cpus).fields) };
    case "queued":
    case "pv-queued":
      return { ...word, describe: (bytes) => said(decodeQspinlock(bytes, words.cpus).fields) };
    default:
      return word;
  }
}

/** The machine's input for the question. @throws AddressError when the code is not in the dump */
export function scenarioOf(
  kernel: Kernel,
  question: DumpQuestion,
): { scenario: Scenario; families: [LockFamily, LockFamily]; assumptions: readonly string[] } {
  // Which implementation runs is asked of the code as it stands after the assumptions.
  const asked = patchedKernel(kernel, question.presets ?? []);
  const implementations = new Implementations(asked);
  const familyOf = (end: PairEnd, role: "lock" | "unlock"): LockFamily => {
    const offset = toKernelOffset(end.address);
    return offset === undefined ? "unknown" : implementations.of(offset, role).family;
  };
  const families: [LockFamily, LockFamily] = [familyOf(question.lock, "lock"), familyOf(question.unlock, "unlock")];
  const around = dumpEnvironment(kernel, question.cpus, families.includes("pv-queued"));
  const scenario: Scenario = {
    cpus: question.cpus,
    memory: around.memory,
    pairs: [{ lock: entryOf(kernel, question.lock, false), unlock: entryOf(kernel, question.unlock, true) }],
    rounds: question.rounds,
    lock: wordOf(new SpinlockWords(asked, implementations), families),
    model: question.model,
    gsBases: around.gsBases,
    presets: [...around.presets, ...(question.presets ?? [])],
    environment: { ...around.environment, spuriousWakeups: question.spuriousWakeups },
    // An irq-disabling lock with a plain unlock, or the other way round, is a choice of the caller's code.
    checkInterrupts: false,
    symbol: (address) => nameAddress(kernel.allSymbols, address),
  };
  return { scenario, families, assumptions: around.assumptions };
}

/** What is answered where one of the ends cannot be entered at all; undefined when both can. */
export function refusal(kernel: Kernel, question: DumpQuestion): DumpProof | undefined {
  const reason =
    entryProblem(kernel, question.lock.address, "lock") ?? entryProblem(kernel, question.unlock.address, "unlock");
  if (reason === undefined) return undefined;
  const counts = { states: 0, transitions: 0, seconds: 0, memoryBytes: 0 };
  return {
    proof: { verdict: "unsupported", reason, cpus: question.cpus, ...counts, assumptions: [] },
    file: undefined,
    states: 0,
    seconds: 0,
    lock: nameOf(kernel, question.lock.address),
    unlock: nameOf(kernel, question.unlock.address),
    families: ["unknown", "unknown"],
    assumptions: [],
  };
}

const nameOf = (kernel: Kernel, address: VirtualAddress): string => nameAddress(kernel.allSymbols, address);

/** Proves a pair of a dump. */
export function proveFromDump(kernel: Kernel, question: DumpQuestion, options: ProveOptions = {}): DumpProof {
  const { scenario, families, assumptions } = scenarioOf(kernel, question);
  const { proof: found, system, states, seconds, neverReturns } = proveLock(scenario, options);
  const name = (address: VirtualAddress): string => nameOf(kernel, address);
  const alone =
    neverReturns === undefined
      ? undefined
      : `${name(question[neverReturns].address)}, the ${neverReturns}, never returns, although no other CPU runs`;
  const proof = alone === undefined ? found : { ...found, reason: `${found.reason}: ${alone}` };
  return {
    proof,
    file:
      proof.witness === undefined
        ? undefined
        : packWitness(system, proof.witness, options.bounds && { seconds: options.bounds.seconds }),
    states,
    seconds,
    lock: name(question.lock.address),
    unlock: name(question.unlock.address),
    families,
    assumptions: [...assumptions, ...proof.assumptions],
  };
}
