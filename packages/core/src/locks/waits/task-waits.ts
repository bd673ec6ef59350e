// Tasks that sleep for a lock: each has put a waiter on the lock's list, and the waiter lies on the task's own stack, in the
// frame of the lock's slow path. The list leads to the lock.
import {
  addressAdd,
  formatAddress,
  fromKernelOffset,
  type KernelOffset,
  toKernelOffset,
  type VirtualAddress,
  virtualAddress,
} from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { backtrace, type Frame } from "../../tasks/backtrace.ts";
import { followsCall, readStack, type StackWords, type TextRanges } from "../../tasks/stack-scan.ts";
import { type Task, tryTask } from "../../tasks/tasks.ts";
import { CALL, rel32Target } from "../../x86/encode.ts";
import { type LockFunction, lockFunctions } from "../code/called-locks.ts";
import { type LockKind, slowPathKind } from "../code/lock-kinds.ts";
import { decodeMutex } from "../words/mutex.ts";
import { decodeRtMutex } from "../words/rt-mutex.ts";
import { decodeRwsem } from "../words/rwsem.ts";
import { decodeSemaphore } from "../words/semaphore.ts";
import type { LockWord, WaiterFact } from "../words/types.ts";
import type { TaskWait, WaitEvidence } from "./wait.ts";

interface SleepingLock {
  readonly type: string;
  readonly waiter: string;
  decode(kernel: Kernel, lock: VirtualAddress): LockWord;
}

const SLEEPING: Readonly<Partial<Record<LockKind, SleepingLock>>> = {
  mutex: { type: "struct mutex", waiter: "struct mutex_waiter", decode: decodeMutex },
  rwsem: { type: "struct rw_semaphore", waiter: "struct rwsem_waiter", decode: decodeRwsem },
  semaphore: { type: "struct semaphore", waiter: "struct semaphore_waiter", decode: decodeSemaphore },
};

/** {struct list_head list; struct task_struct *task; …} since 2.6.16, where no layout tells it */
const LIST_AT = 0;
const TASK_AT = 16;
/** Offsets of a lock's list of waiters that are tried where no layout tells it. */
const LIST_IN_LOCK = [8, 16, 24, 32, 40];
/** Words above a return address among which its function's locals lie, and below it among which it kept its registers. */
const FRAME_WORDS = 64;
/** Members of one list that are followed. */
const MAX_RING = 4096;
const FRAMES = 8;

export class TaskWaits {
  /** What a return address is in: the same few are on most stacks. */
  private readonly kinds = new Map<number, LockKind | null>();
  private functions: ReadonlyMap<KernelOffset, LockFunction> | undefined;

  constructor(
    private readonly kernel: Kernel,
    private readonly text: TextRanges,
    private readonly stackSize: number,
  ) {}

  /** The lock that the task sleeps for; undefined when its stack shows none. */
  of(task: Task): TaskWait | undefined {
    try {
      return this.onRtMutex(task) ?? this.onList(task);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  private stackOf(task: Task): StackWords | undefined {
    const { sp, stack } = task;
    if (sp === undefined || sp === 0n) return undefined;
    if (stack === undefined) return readStack(this.kernel, sp, this.stackSize);
    const length = Number(stack + BigInt(this.stackSize) - sp);
    if (length <= 0 || length > this.stackSize) return undefined;
    const bytes = this.kernel.memory.tryRead(virtualAddress(sp & ~7n), length & ~7);
    return bytes && { start: virtualAddress(sp & ~7n), words: new BigUint64Array(bytes.slice().buffer) };
  }

  private onList(task: Task): TaskWait | undefined {
    const stack = this.stackOf(task);
    if (stack === undefined) return undefined;
    const { words } = stack;
    const halves = new Uint32Array(words.buffer, words.byteOffset, words.length * 2);
    for (let k = 0; k < words.length; k++) {
      if (halves[2 * k + 1] !== 0xffffffff || halves[2 * k] < 0x80000000) continue;
      const kind = this.kindOf(halves[2 * k], words[k]);
      const lock = kind === undefined ? undefined : SLEEPING[kind];
      if (kind === undefined || lock === undefined) continue;
      const found = this.waiterAbove(task, stack, k, lock);
      if (found === undefined) continue;
      const frames = this.framesFrom(stack, k, kind);
      return {
        who: "task",
        task,
        kind,
        frames,
        mode: found.fact.kind,
        lock: found.lock,
        waiter: found.waiter,
        evidence: found.evidence,
      };
    }
    return undefined;
  }

  /**
   * The slow path and its callers. mutex_lock() and down_write() jump to their slow paths, so that the frame behind is that
   * of the function that called them.
   */
  private framesFrom({ start, words }: StackWords, k: number, kind: LockKind): readonly Frame[] {
    const from = (i: number, count: number): Frame[] => {
      const rest = { start: addressAdd(start, (i + 1) * 8), words: words.subarray(i + 1) };
      return backtrace(this.kernel, this.text, words[i], rest, count);
    };
    this.functions ??= lockFunctions(this.kernel, 0);
    for (let i = k + 1; i < Math.min(words.length, k + 2 * FRAME_WORDS); i++) {
      const target = this.text.has(words[i]) ? this.callTarget(words[i]) : undefined;
      if (target === undefined || this.functions.get(target)?.[1] !== kind) continue;
      return [...from(k, 1), ...from(i, FRAMES - 1)];
    }
    return from(k, FRAMES);
  }

  private callTarget(address: bigint): KernelOffset | undefined {
    const offset = toKernelOffset(address);
    if (offset === undefined || offset < 5) return undefined;
    const bytes = this.kernel.memory.tryRead(fromKernelOffset(offset - 5), 5);
    return bytes?.[0] === CALL ? rel32Target(bytes, 1, offset) : undefined;
  }

  private kindOf(low: number, word: bigint): LockKind | undefined {
    let kind = this.kinds.get(low);
    if (kind === undefined) {
      const symbol = this.text.has(word) ? this.kernel.symbols.nearest(virtualAddress(word))?.symbol : undefined;
      const named = symbol === undefined ? undefined : slowPathKind(symbol.name);
      kind = named !== undefined && followsCall(this.kernel, word) ? named : null;
      this.kinds.set(low, kind);
    }
    return kind ?? undefined;
  }

  /** A waiter of this task among the locals behind word `k`, and the lock on whose list it is. */
  private waiterAbove(
    task: Task,
    stack: StackWords,
    k: number,
    lock: SleepingLock,
  ): { lock: VirtualAddress; waiter: VirtualAddress; fact: WaiterFact; evidence: WaitEvidence } | undefined {
    const s = this.kernel.structures;
    const listAt = s.find(lock.waiter, "list")?.offset ?? LIST_AT;
    const taskAt = s.find(lock.waiter, "task")?.offset ?? TASK_AT;
    const first = s.find(lock.type, "first_waiter");
    const { words, start } = stack;
    for (let i = k + 1; i < Math.min(words.length, k + FRAME_WORDS); i++) {
      if (words[i] !== task.address) continue;
      const waiter = addressAdd(start, i * 8 - taskAt);
      const ring = this.ringOf(addressAdd(waiter, listAt));
      if (ring === undefined) continue;
      const locks =
        first === undefined
          ? this.headsOf(ring, listAt, taskAt, lock)
          : this.namedLocks(stack, k, new Set(ring.map((node) => node - BigInt(listAt))), first.offset);
      for (const candidate of locks) {
        const fact = this.listed(lock, candidate, waiter, task);
        if (fact === undefined) continue;
        const evidence = { by: "list", waiterType: lock.waiter, waiter } as const;
        return { lock: candidate, waiter, fact, evidence };
      }
    }
    return undefined;
  }

  /** All nodes of a list whose links agree in both directions; undefined when they do not. */
  private ringOf(node: VirtualAddress): VirtualAddress[] | undefined {
    const { memory } = this.kernel;
    const out: VirtualAddress[] = [];
    let at = node;
    try {
      do {
        const next = memory.pointer(at);
        if ((next & 7n) !== 0n || next < 0xff00000000000000n || out.length >= MAX_RING) return undefined;
        if (memory.pointer(addressAdd(next, 8)) !== at) return undefined;
        out.push(at);
        at = next;
      } while (at !== node);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
    return out;
  }

  /** Up to 7.0 one node of the list is its head, in the lock: the one that is no waiter. */
  private headsOf(
    ring: readonly VirtualAddress[],
    listAt: number,
    taskAt: number,
    lock: SleepingLock,
  ): VirtualAddress[] {
    const told = this.kernel.structures.find(lock.type, "wait_list")?.offset;
    const heads = ring.filter((node) => !this.isWaiter(addressAdd(node, -listAt), taskAt));
    const offsets = told === undefined ? LIST_IN_LOCK : [told];
    return heads.flatMap((head) => offsets.map((offset) => addressAdd(head, -offset)));
  }

  private isWaiter(waiter: VirtualAddress, taskAt: number): boolean {
    const bytes = this.kernel.memory.tryRead(addressAdd(waiter, taskAt), 8);
    const task = bytes && tryTask(this.kernel, getU64(bytes, 0));
    if (task === undefined) return false;
    return task.stack === undefined || (waiter >= task.stack && waiter < task.stack + BigInt(this.stackSize));
  }

  /** 7.x: the lock points to its first waiter, no waiter points to the lock; the slow path still has the lock's address. */
  private namedLocks(stack: StackWords, k: number, waiters: ReadonlySet<bigint>, firstAt: number): VirtualAddress[] {
    const { words } = stack;
    const out = new Set<VirtualAddress>();
    // The waiters' own links point to each other just so.
    for (let i = Math.max(0, k - FRAME_WORDS); i < Math.min(words.length, k + FRAME_WORDS); i++) {
      if (words[i] < 0xff00000000000000n || (words[i] & 7n) !== 0n || this.text.has(words[i])) continue;
      if (waiters.has(words[i])) continue;
      const bytes = this.kernel.memory.tryRead(addressAdd(virtualAddress(words[i]), firstAt), 8);
      if (bytes === undefined) continue;
      if (waiters.has(getU64(bytes, 0))) out.add(virtualAddress(words[i]));
    }
    return [...out];
  }

  /** The lock's own list, read as the lock's decoder reads it, must have the waiter. */
  private listed(lock: SleepingLock, at: VirtualAddress, waiter: VirtualAddress, task: Task): WaiterFact | undefined {
    try {
      const word = lock.decode(this.kernel, at);
      if (word.state === "impossible") return undefined;
      const wanted = formatAddress(waiter);
      return word.waiters?.find((each) => each.address === wanted && each.task.address === formatAddress(task.address));
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  /** task_struct.pi_blocked_on leads to the waiter, and the waiter to its lock (kernel/locking/rtmutex_common.h). */
  private onRtMutex(task: Task): TaskWait | undefined {
    const { structures: s, memory } = this.kernel;
    const blocked = s.find("struct task_struct", "pi_blocked_on");
    const taskMember = s.find("struct rt_mutex_waiter", "task");
    const lockMember = s.find("struct rt_mutex_waiter", "lock");
    if (blocked === undefined || taskMember === undefined || lockMember === undefined) return undefined;
    const waiter = memory.pointer(addressAdd(task.address, blocked.offset));
    if (waiter === 0n || memory.u64(addressAdd(waiter, taskMember.offset)) !== task.address) return undefined;
    const lock = memory.pointer(addressAdd(waiter, lockMember.offset));
    const word = decodeRtMutex(this.kernel, lock);
    if (!word.waiters?.some((each) => each.task.address === formatAddress(task.address))) return undefined;
    const stack = this.stackOf(task);
    const frames = stack === undefined ? [] : this.outside(stack);
    const evidence = { by: "blocker", member: "task_struct.pi_blocked_on" } as const;
    return { who: "task", task, kind: "rt-mutex", lock, waiter, mode: undefined, frames, evidence };
  }

  /** Frames of a sleeping task, without the scheduler's own. */
  private outside({ start, words }: StackWords): readonly Frame[] {
    const first = words.findIndex((word) => this.text.has(word) && followsCall(this.kernel, word));
    if (first < 0) return [];
    const rest = { start: addressAdd(start, (first + 1) * 8), words: words.subarray(first + 1) };
    const frames = backtrace(this.kernel, this.text, words[first], rest, FRAMES + 4);
    const inside = frames.findIndex(
      ({ symbol }) => !/^(_*schedule|schedule_|rt_mutex_schedule|__switch_to)/.test(symbol),
    );
    return inside < 0 ? frames : frames.slice(inside);
  }
}
