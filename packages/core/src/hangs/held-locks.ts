// Who has a lock that keeps no owner: functions on a stack that took it before they got where they stand and have not released
// it. Followed through the code from the function's entry to the return address, along all paths.
import * as iced from "iced-x86";
import { formatAddress, toKernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { functionBytes } from "../locks/code/function-bytes.ts";
import { callOperands } from "../locks/code/operands.ts";
import type { Frame } from "../tasks/backtrace.ts";

/** How often a function has the lock where it stands: on every path, on some, on none. */
export type Held = "yes" | "maybe" | "no";

const TAKES =
  /^(_*(raw_)?(spin|read|write)_lock(_bh|_irq|_irqsave|_nested|_nest_lock|_irqsave_nested)*|mutex_lock(_nested|_interruptible|_killable|_io)*|down(_interruptible|_killable)?|down_(read|write)(_killable|_interruptible|_nested)*|rt_mutex_lock\w*|rt_(spin|read|write)_lock\w*|_*(native_)?queued_(spin|read|write)_lock\w*|_*ticket_spin_lock\w*|xen_spin_lock\w*)$/;
const RELEASES =
  /^(_*(raw_)?(spin|read|write)_unlock(_bh|_irq|_irqrestore)*|mutex_unlock|up|up_(read|write)|rt_mutex_unlock|rt_(spin|read|write)_unlock\w*|_*(native_|pv_)?queued_(spin|read|write)_unlock\w*|_*ticket_spin_unlock\w*|xen_spin_unlock\w*)$/;
const TRIES = /trylock/;
/** Those among them that sleep: who has one may be on no CPU. */
const SLEEPS = /mutex|down|^up|rt_(spin|read|write)_/;
/** Longest function that is followed, in bytes; steps and counts that are told apart. */
const MAX_BYTES = 16384;
const MAX_STEPS = 40_000;
const MAX_COUNT = 3;

type Operation = "takes" | "releases" | "tries";
/** What an instruction does to the count: a try and what a callee may do happens or does not. */
type Effect = Operation | "may-release";

interface Performed {
  readonly what: Operation;
  /** undefined when it is no constant: a lock that was reached through a pointer */
  readonly lock: bigint | undefined;
  readonly spins: boolean;
}

interface Code {
  readonly operations: ReadonlyMap<number, Performed>;
  /** position of a call of anything else → where that begins */
  readonly calls: ReadonlyMap<number, VirtualAddress>;
  /** position of an instruction → where execution goes on, and whether the operation there happens */
  readonly next: ReadonlyMap<number, readonly number[]>;
}

/** Calls inside of calls that are looked into for a lock that is left taken: of what lies deeper, paths that exclude each other say yes. */
const DEPTH = 1;

export class HeldLocks {
  private readonly codes = new Map<bigint, Code | null>();
  private readonly leaving = new Map<string, boolean>();

  constructor(private readonly kernel: Kernel) {}

  /** Whether the function of this frame has the lock at `lock` where it stands. */
  of(frame: Frame, lock: VirtualAddress): Held {
    const code = this.codeOf(frame.start);
    if (code === undefined || ![...code.operations.values()].some((each) => each.lock === lock)) return "no";
    const counts = this.countsAt(code, Number(frame.address - frame.start), (at) => {
      const operation = code.operations.get(at);
      if (operation?.lock === lock) return operation.what;
      const callee = operation === undefined ? code.calls.get(at) : undefined;
      return callee !== undefined && this.releasesFor(callee, lock) ? "may-release" : undefined;
    });
    if (counts.size === 0 || (counts.size === 1 && counts.has(0))) return "no";
    return counts.has(0) ? "maybe" : "yes";
  }

  /**
   * Whether the function may have a spinning lock that its code does not name: taken through a pointer, or by a function
   * that it called and that came back with it. True of code that cannot be read.
   * @param deep also look into what it called
   */
  hasUnknown(frame: Frame, deep: boolean): boolean {
    const code = this.codeOf(frame.start);
    if (code === undefined) return true;
    const counts = this.countsAt(code, Number(frame.address - frame.start), (at) =>
      this.unknownOperation(code, at, deep ? DEPTH : 0),
    );
    return [...counts].some((count) => count > 0);
  }

  private unknownOperation(code: Code, at: number, depth: number): Effect | undefined {
    const operation = code.operations.get(at);
    if (operation !== undefined) return operation.spins && operation.lock === undefined ? operation.what : undefined;
    const callee = depth > 0 ? code.calls.get(at) : undefined;
    return callee !== undefined && this.leavesTaken(callee, depth - 1) ? "tries" : undefined;
  }

  /** Whether a function may come back with a spinning lock that it has taken. */
  private leavesTaken(start: VirtualAddress, depth: number): boolean {
    const key = `${start} ${depth}`;
    let leaves = this.leaving.get(key);
    if (leaves === undefined) {
      this.leaving.set(key, false); // what calls itself adds nothing of its own
      const code = this.codeOf(start);
      const effect = (at: number): Effect | undefined => {
        const operation = code?.operations.get(at);
        if (operation !== undefined) return operation.spins ? operation.what : undefined;
        return code === undefined ? undefined : this.unknownOperation(code, at, depth);
      };
      leaves = code !== undefined && [...this.countsAt(code, undefined, effect)].some((count) => count > 0);
      this.leaving.set(key, leaves);
    }
    return leaves;
  }

  /** A function that releases the lock, or one that it was handed, without having taken it. */
  private releasesFor(start: VirtualAddress, lock: VirtualAddress): boolean {
    const own = [...(this.codeOf(start)?.operations.values() ?? [])].filter(
      (each) => each.lock === lock || each.lock === undefined,
    );
    return own.some(({ what }) => what === "releases") && !own.some(({ what }) => what !== "releases");
  }

  /** Locks with constant addresses that the function takes or releases anywhere. */
  locksOf(frame: Frame): ReadonlySet<bigint> {
    return new Set([...(this.codeOf(frame.start)?.operations.values() ?? [])].flatMap(({ lock }) => lock ?? []));
  }

  /** How often locks have been taken when the instruction that ends at `target` is under way, or at every return. */
  private countsAt(
    { next }: Code,
    target: number | undefined,
    effectAt: (at: number) => Effect | undefined,
  ): Set<number> {
    const out = new Set<number>();
    const seen = new Set<number>();
    const work: [number, number][] = [[0, 0]];
    for (let steps = 0; work.length > 0 && steps < MAX_STEPS; steps++) {
      const [at, count] = work.pop() as [number, number];
      const key = at * (MAX_COUNT + 1) + count;
      if (seen.has(key)) continue;
      seen.add(key);
      const followers = next.get(at);
      if (followers === undefined) continue;
      // The call that has not returned is under way: what it takes or releases has not happened.
      if (target !== undefined && (this.endOf(next, at) === target || at === target)) {
        out.add(count);
        continue;
      }
      const own = effectAt(at);
      const after =
        own === "takes" || own === "tries"
          ? Math.min(MAX_COUNT, count + 1)
          : own === "releases" || own === "may-release"
            ? Math.max(0, count - 1)
            : count;
      if (target === undefined && followers.length === 0) out.add(after);
      for (const follower of followers) {
        work.push([follower, after]);
        if (own === "tries" || own === "may-release") work.push([follower, count]);
      }
    }
    return out;
  }

  private readonly ends = new WeakMap<ReadonlyMap<number, readonly number[]>, Map<number, number>>();

  private endOf(next: ReadonlyMap<number, readonly number[]>, at: number): number | undefined {
    return this.ends.get(next)?.get(at);
  }

  private codeOf(start: VirtualAddress): Code | undefined {
    let code = this.codes.get(start);
    if (code === undefined) {
      code = this.read(start) ?? null;
      this.codes.set(start, code);
    }
    return code ?? undefined;
  }

  private read(start: VirtualAddress): Code | undefined {
    const size = this.kernel.allSymbols.nearest(start)?.size ?? 0;
    const bytes = functionBytes(this.kernel, start, Math.min(size, MAX_BYTES));
    if (bytes === undefined) return undefined;
    const inlined = inlinedUnlocks(bytes, start);
    const operations = new Map<number, Performed>();
    const calls = new Map<number, VirtualAddress>();
    for (const { at, target, rdi } of callOperands(bytes, start, inlined)) {
      const position = Number(at - start);
      const callee = target === undefined ? undefined : this.calleeOf(target);
      const what = inlined.has(at) ? "releases" : callee === undefined ? undefined : operationOf(callee.name);
      const spins = inlined.has(at) || (callee !== undefined && !SLEEPS.test(callee.name));
      // An inlined store through a pointer may be any store: it is a release only where it is one of a known lock.
      if (what !== undefined && !(inlined.has(at) && rdi === undefined))
        operations.set(position, { what, lock: rdi, spins });
      else if (callee !== undefined && callee.address !== start) calls.set(position, callee.address);
    }
    const next = new Map<number, readonly number[]>();
    const ends = new Map<number, number>();
    follow(bytes, start, next, ends);
    this.ends.set(next, ends);
    return { operations, calls, next };
  }

  private calleeOf(target: number): { readonly name: string; readonly address: VirtualAddress } | undefined {
    const address = (0xffffffff80000000n + BigInt(target)) as VirtualAddress;
    const near = this.kernel.allSymbols.nearest(address);
    return near === undefined || near.offset > 16 ? undefined : { name: near.symbol.name, address };
  }
}

function operationOf(name: string): Operation | undefined {
  if (TRIES.test(name) && TAKES.test(name.replace("trylock", "lock"))) return "tries";
  return TAKES.test(name) ? "takes" : RELEASES.test(name) ? "releases" : undefined;
}

/** movb $0, (%rdi): the release of a queued spinlock, written over a paravirtual call (c6 07 00). */
function inlinedUnlocks(bytes: Uint8Array, start: bigint): Set<bigint> {
  const out = new Set<bigint>();
  for (let i = 0; i + 3 <= bytes.length; i++) {
    if (bytes[i] === 0xc6 && bytes[i + 1] === 0x07 && bytes[i + 2] === 0) out.add(start + BigInt(i));
  }
  return out;
}

function follow(
  bytes: Uint8Array,
  start: bigint,
  next: Map<number, readonly number[]>,
  ends: Map<number, number>,
): void {
  const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const instruction = new iced.Instruction();
  try {
    decoder.ip = start;
    while (decoder.canDecode) {
      const at = decoder.position;
      decoder.decodeOut(instruction);
      if (instruction.code === iced.Code.INVALID) break;
      const end = at + instruction.length;
      ends.set(at, end);
      const flow = instruction.flowControl;
      const branch = instruction.nearBranchTarget;
      const inside = branch >= start && branch < start + BigInt(bytes.length) ? [Number(branch - start)] : [];
      if (flow === iced.FlowControl.UnconditionalBranch) next.set(at, inside);
      else if (flow === iced.FlowControl.ConditionalBranch) next.set(at, [end, ...inside]);
      else if (flow === iced.FlowControl.Return || flow === iced.FlowControl.IndirectBranch) next.set(at, []);
      else next.set(at, [end]);
    }
  } finally {
    instruction.free();
    decoder.free();
  }
}

/** For messages. */
export const lockText = (kernel: Kernel, lock: VirtualAddress): string => {
  const near = toKernelOffset(lock) === undefined ? undefined : kernel.allSymbols.nearest(lock);
  if (near === undefined || near.offset >= (near.size ?? 4096)) return formatAddress(lock);
  const plus = near.offset === 0 ? "" : `+0x${near.offset.toString(16)}`;
  return `${near.symbol.name}${plus}${near.symbol.module === undefined ? "" : ` [${near.symbol.module}]`}`;
};
