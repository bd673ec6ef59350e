// One lock as a fact: its word under the type that is proved for it, held against who waits, with what that makes impossible.
import { addressAdd, formatAddress, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { LockFact, WaitingFact } from "../../results/lock-results.ts";
import type { PerCpu } from "../../tasks/per-cpu.ts";
import { hexBytes } from "../../x86/encode.ts";
import type { KnownLock, Waits } from "../find/known-locks.ts";
import { nobodyHolds, unknownCpus } from "../waits/cpu-activity.ts";
import { openWaits, waitersOf } from "../waits/lock-waiters.ts";
import type { SpinQueues } from "../waits/queue.ts";
import { type LockDecoder, type LockForm, spins } from "../words/lock-forms.ts";
import type { QueuedWord } from "../words/qspinlock.ts";
import { lostTickets, type TicketWord } from "../words/ticket.ts";
import type { LockWord } from "../words/types.ts";
import { taskFact } from "../words/waiters.ts";
import { nameAt } from "./site-facts.ts";

/** SPINLOCK_MAGIC of CONFIG_DEBUG_SPINLOCK (include/linux/spinlock_types.h) */
const SPINLOCK_MAGIC = 0xdead4ead;
/** Bytes shown of what cannot be decoded. */
const RAW = 32;

export interface FactContext {
  readonly kernel: Kernel;
  readonly decoder: LockDecoder;
  readonly perCpu: PerCpu;
  readonly queues: SpinQueues;
  readonly waits: Waits;
}

export class LockFacts {
  private idle: boolean | undefined;
  private unknown: number | undefined;

  constructor(private readonly context: FactContext) {}

  /** How this kernel builds the lock; undefined when nothing tells. */
  formOf(lock: KnownLock): LockForm | undefined {
    const { decoder } = this.context;
    return lock.kind === "raw-spinlock" && lock.form !== undefined ? lock.form : decoder.formOf(lock.kind);
  }

  /** The word; undefined when it is not in the dump, or no layout of its type is known. */
  wordOf(lock: KnownLock): LockWord | undefined {
    const form = this.formOf(lock);
    try {
      const word = form === undefined ? undefined : this.context.decoder.decode(lock.address, form);
      return word === undefined || this.isUninitialised(word, form) ? undefined : word;
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  /**
   * Zeroes, as a variable has them before mutex_init() or sema_init(): a list of waiters that leads nowhere. Since 7.x there
   * is a pointer in its place, whose NULL is right, and zeroes are a semaphore that is taken.
   */
  isUninitialised(word: LockWord, form: LockForm | undefined): boolean {
    if ((form !== "mutex" && form !== "semaphore") || word.state === "free" || !/^[0 ]*$/.test(word.bytes))
      return false;
    return !this.context.kernel.structures.has(`struct ${form}`, "first_waiter");
  }

  /** A biased rwlock that a writer has is zero, and so is one in memory that nobody initialised. */
  mayBeUninitialised(word: LockWord, form: LockForm): boolean {
    return form === "rwlock" && /^[0 ]*$/.test(word.bytes);
  }

  /** All about a lock of which `word` was read. */
  fact(lock: KnownLock, form: LockForm, word: LockWord): LockFact {
    const { kernel, queues, waits } = this.context;
    const waiters = waitersOf(lock.address, form, word, waits, queues);
    const problems = [...word.problems];
    const wrong = this.contradiction(lock.address, form, word, waiters);
    if (wrong !== undefined) problems.push(wrong);
    const orphaned = wrong === undefined && spins(form) && word.state === "held" && this.nobodyHolds();
    if (orphaned) problems.push("every CPU is idle or in user mode: whoever took it went on without releasing it");
    if (this.mayBeUninitialised(word, form) && waiters.length === 0) {
      problems.push("zeroes are also what it holds before it is initialised");
    }
    const handedOver = word.state === "free" && waiters.length > 0;
    const owner = word.owner ?? this.debugOwner(lock.address, form, word);
    const symbol = lock.name ?? symbolOf(kernel, lock.address);
    const state = wrong !== undefined ? "impossible" : waiters.length > 0 ? contended(word.state) : word.state;
    // No variable is there and no ticket proves it: a register that held another pointer by then is the likelier reason.
    const unsure =
      state === "impossible" &&
      (lock.guess === true || (spins(form) && symbol === "" && waiters.every(({ ticket }) => ticket === undefined)));
    const meaning =
      wrong !== undefined
        ? `${word.meaning}, but ${wrong}`
        : handedOver
          ? `${word.meaning}, though it is waited for`
          : word.meaning;
    return {
      address: formatAddress(lock.address),
      symbol,
      type: word.type,
      state: unsure ? "unknown" : state,
      bytes: word.bytes,
      fields: word.fields,
      meaning: unsure ? `${meaning}; that this is the lock is not proved` : meaning,
      ...(owner === undefined ? {} : { owner: { address: owner.address, pid: owner.pid, comm: owner.comm } }),
      waiters,
      evidence: lock.evidence(),
      problems,
    };
  }

  /** What the word says that the CPUs' and queues' own state denies. */
  private contradiction(
    lock: VirtualAddress,
    form: LockForm,
    word: LockWord,
    waiters: readonly WaitingFact[],
  ): string | undefined {
    if (word.state === "impossible") return undefined;
    if (form === "ticket") return this.ticketsLost(lock, word as TicketWord, waiters);
    return form === "qspinlock" ? this.lostTail(word as QueuedWord) : undefined;
  }

  /** Of the tickets that are out one may be the holder's; all others belong to CPUs that wait with them. */
  private ticketsLost(lock: VirtualAddress, word: TicketWord, waiters: readonly WaitingFact[]): string | undefined {
    const { kernel, waits } = this.context;
    this.unknown ??= unknownCpus(kernel);
    // A CPU of which it is not known what it waits for may have one of them.
    const lost = lostTickets(word, waiters.length, this.unknown + openWaits(waits.cpus, lock));
    if (lost === 0) return undefined;
    const have =
      waiters.length === 0 ? "no CPU waits" : waiters.length === 1 ? "1 CPU waits" : `${waiters.length} CPUs wait`;
    return `${have} and a holder has one: the others were not released as tickets, and nobody is granted the lock again`;
  }

  /** A tail names an MCS node that is in use until the word is changed. */
  private lostTail({ tail, tailCpu, tailIndex }: QueuedWord): string | undefined {
    const { queues } = this.context;
    if (tail === 0 || tailCpu === undefined || !queues.readable.has(tailCpu)) return undefined;
    const used = queues.nodes.some((node) => node.cpu === tailCpu && node.index === tailIndex);
    return used ? undefined : `its queue ends with MCS node ${tailIndex} of CPU ${tailCpu}, which is not in use`;
  }

  private nobodyHolds(): boolean {
    this.idle ??= nobodyHolds(this.context.kernel);
    return this.idle;
  }

  /** raw_spinlock_t.owner of CONFIG_DEBUG_SPINLOCK, behind its magic number. */
  private debugOwner(lock: VirtualAddress, form: LockForm, word: LockWord): ReturnType<typeof taskFact> | undefined {
    if (word.state === "free" || (form !== "qspinlock" && form !== "ticket")) return undefined;
    const { structures: s, memory } = this.context.kernel;
    const magic = s.find("struct raw_spinlock", "magic");
    const owner = s.find("struct raw_spinlock", "owner");
    if (magic === undefined || owner === undefined) return undefined;
    try {
      if (memory.u32(addressAdd(lock, magic.offset)) !== SPINLOCK_MAGIC) return undefined;
      const task = taskFact(this.context.kernel, memory.u64(addressAdd(lock, owner.offset)));
      return task.pid < 0 ? undefined : task;
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }
}

const contended = (state: LockWord["state"]): LockWord["state"] => (state === "held" ? "contended" : state);

/** "floppy_lock [floppy]"; "" for what lies outside the kernel's and its modules' own variables. */
export function symbolOf(kernel: Kernel, address: VirtualAddress): string {
  const offset = toKernelOffset(address);
  const near = offset === undefined ? undefined : kernel.allSymbols.nearest(address);
  return offset === undefined || near === undefined ? "" : nameAt(kernel, offset);
}

/** The bytes at an address as they are. @throws AddressError when none of them is in the dump */
export function rawBytes(kernel: Kernel, address: VirtualAddress): string {
  for (let length = RAW; length > 4; length >>= 1) {
    const bytes = kernel.memory.tryRead(address, length);
    if (bytes !== undefined) return hexBytes(bytes);
  }
  return hexBytes(kernel.memory.read(address, 4));
}
