// Who waits for whom: one edge for each CPU that spins and each task that sleeps, to those that must act first. A cycle is a
// deadlock, an end is a cause. Only what is proved becomes an edge.
import { addressAdd, formatAddress, type VirtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import { getU64 } from "../kernel/layouts/little-endian.ts";
import type { LockState } from "../locks/lock-state.ts";
import { isProved, type TaskWait } from "../locks/waits/wait.ts";
import { formOfFamily } from "../locks/words/lock-forms.ts";
import type { LockWord } from "../locks/words/types.ts";
import { type Actor, Actors, actorName } from "./actors.ts";
import { HeldLocks, lockText } from "./held-locks.ts";
import { MachineState } from "./machine-state.ts";
import { type Sleep, Sleeps } from "./sleeps.ts";

export interface Edge {
  readonly from: Actor;
  readonly kind: "spin" | "lock" | "sleep" | "ipi";
  /** "waits for the mutex a [b]" */
  readonly what: string;
  readonly lock: VirtualAddress | undefined;
  readonly word: LockWord | undefined;
  /** who must act first */
  readonly to: readonly Actor[];
  /** The lock's word names the owner. */
  readonly owned: boolean;
  /** the word names an owner that is on no list of tasks any more */
  readonly gone: { readonly address: string; readonly name: string } | undefined;
  readonly sleep: Sleep | undefined;
  /** The state may be over in the next moment: the lock is being handed over, or somebody was woken who has not run yet. */
  readonly moment: boolean;
}

/** Functions in which somebody who runs again takes what he slept for, and wakes the next one when he is done. */
const RESUMES =
  /^(__?mutex_lock|mutex_lock|ww_mutex_lock|down|__down|rwsem_(down|optimistic)|wait_for_(common|completion)|__wait_for_common|do_wait_for_common|rt_mutex_(slow)?lock|rt_(spin|read|write)_lock|percpu_(down|rwsem)|__percpu_down)/;
/** Functions in which somebody is about to release or to wake: what they have not done yet is no loss. */
const WAKES =
  /^(up_|__up_|rwsem_wake|rwsem_mark_wake|__?mutex_unlock|mutex_unlock|complete|swake_up|wake_up|try_to_wake_up|__wake_up|rt_mutex_unlock|up$)/;

/** Idle loops, where a CPU with interrupts off is about to halt. */
const IDLE = /(^|_)(idle|safe_halt|halt|mwait|play_dead|stop_this_cpu|cpu_startup_entry)/;
/** What takes a spinlock, and what that calls. */
const LOCK_CODE =
  /^(_*(raw_)?(spin|read|write)_lock|_*(native_|pv_)?queued_(spin|read|write)_lock|__pv_|pv_wait|kvm_wait|xen_(qlock|poll)|\w*ticket_spin_lock|xen_spin_lock|__lock_text|delay_|__delay|__const_udelay|native_safe_halt)/;

const SWITCHES = /^(__switch_to|__schedule|context_switch)/;

export class WaitGraph {
  readonly actors: Actors;
  readonly machine: MachineState;
  readonly edges: readonly Edge[];
  private readonly held: HeldLocks;
  private readonly bySource = new Map<string, Edge>();

  constructor(readonly state: LockState) {
    const { kernel } = state;
    this.actors = new Actors(kernel, state.tasks);
    this.machine = new MachineState(kernel, state.perCpu);
    this.held = new HeldLocks(kernel);
    const edges = [...this.spinning(), ...this.sleepingForLocks()];
    const known = new Set(edges.map(({ from }) => from.key));
    this.edges = [...edges, ...this.ipis(known), ...this.otherSleeps(known)];
    for (const edge of this.edges) if (!this.bySource.has(edge.from.key)) this.bySource.set(edge.from.key, edge);
  }

  edgeOf(actor: Actor): Edge | undefined {
    return this.bySource.get(actor.key);
  }

  /**
   * Somebody runs, or may run next, who is about to wake others, or was woken and has not taken what he slept for: a sleeper
   * that has not been woken yet is no loss. True also when a CPU's or such a task's stack is not known.
   */
  get somebodyWakes(): boolean {
    return this.actors.all.some((actor) => {
      if (actor.cpu === undefined && isAsleep(actor)) return false;
      const { levels, end } = this.actors.stack(actor);
      if (levels.length === 0) return end === "stopped" && !ended(actor);
      return this.actors.frames(actor).some(({ place }) => WAKES.test(place.symbol) || RESUMES.test(place.symbol));
    });
  }

  /** Why it is not known that nobody has a lock that CPUs spin for; undefined when it is. */
  holderUnknown(lock: VirtualAddress): string | undefined {
    const cpus = new Set(this.machine.online);
    for (const cpu of cpus) if (this.actors.onCpu(cpu) === undefined) return `what CPU ${cpu} runs is not known`;
    for (const actor of this.actors.all) {
      const running = actor.cpu !== undefined && cpus.has(actor.cpu);
      const { levels, end } = this.actors.stack(actor);
      if (levels.length === 0 && end === "user") continue;
      if (!running && (ended(actor) || actor.task.pid === 0)) continue;
      const frames = levels.flatMap((level) => level.frames);
      if (end === "stopped" || frames.some(({ checked }) => !checked))
        return `the stack of ${actorName(actor)} cannot be followed to its end`;
      if (running && !(this.isIdle(actor) || this.edgeOf(actor)?.kind === "spin"))
        return `${actorName(actor)} runs and may have it`;
      // The functions of the lock that is waited for are no holders of it; what the scheduler took before it switched
      // away from a task, the next task released (finish_task_switch()).
      const own = running ? LOCK_CODE : SWITCHES;
      const outside = frames.filter(({ place }) => !own.test(place.symbol));
      const holder = outside.find(
        (frame) =>
          this.held.of(frame, lock) !== "no" ||
          (!(running && this.isIdle(actor)) && this.held.hasUnknown(frame, running)),
      );
      if (holder !== undefined) return `${actorName(actor)} may have it, by ${holder.symbol}`;
    }
    return undefined;
  }

  /** The CPU is in the idle loop. */
  isIdle(actor: Actor): boolean {
    const [first] = this.actors.frames(actor);
    return actor.task.pid === 0 && (first === undefined || IDLE.test(first.place.symbol));
  }

  /** Actors whose stacks stand where they have the lock, with the frame that tells. */
  holders(lock: VirtualAddress, running: boolean): { actor: Actor; sure: boolean; at: string }[] {
    const out: { actor: Actor; sure: boolean; at: string }[] = [];
    for (const actor of this.actors.all) {
      if (running && actor.cpu === undefined) continue;
      for (const frame of this.actors.frames(actor)) {
        const held = this.held.of(frame, lock);
        if (held === "no") continue;
        out.push({ actor, sure: held === "yes", at: frame.symbol });
        break;
      }
    }
    return out;
  }

  private spinning(): Edge[] {
    return this.state.cpuWaits.flatMap((wait) => {
      const from = this.actors.onCpu(wait.cpu);
      if (from === undefined || wait.lock === undefined || !isProved(wait.evidence)) return [];
      const { lock } = wait;
      const rw = wait.kind === "rwlock";
      const form = rw ? this.state.decoder.formOf("rwlock") : formOfFamily(wait.family);
      const holders = this.holders(lock, true).filter(({ sure }) => sure);
      const to = holders.length > 0 ? holders : this.holders(lock, false).filter(({ sure }) => sure);
      const kind = rw ? `rwlock (to ${wait.mode === "reader" ? "read" : "write"})` : "spinlock";
      return [
        {
          from,
          kind: "spin" as const,
          what: `spins for the ${kind} ${lockText(this.state.kernel, lock)}`,
          lock,
          word: form === undefined ? undefined : this.decode(lock, form),
          to: to.map(({ actor }) => actor),
          owned: false,
          gone: undefined,
          sleep: undefined,
          moment: this.isHandedOver(lock, form === undefined ? undefined : this.decode(lock, form)),
        },
      ];
    });
  }

  /** The lock is free, or its next holder is a CPU that was stopped before it saw that: by the word, and who spins for it. */
  private isHandedOver(lock: VirtualAddress, word: LockWord | undefined): boolean {
    if (word === undefined || word.state === "free" || word.state === "impossible") return true;
    const waits = this.state.cpuWaits.filter((wait) => wait.lock === lock);
    const { locked, head, writer, readers } = word.fields;
    if (locked !== undefined) return locked === 0;
    // The ticket that is served may be that of a CPU that spins.
    if (head !== undefined) return waits.some(({ ticket }) => ticket === undefined || ticket === head);
    // A reader that waits is counted among the readers.
    if (readers !== undefined && !(Number(writer ?? 0) > 0))
      return Number(readers) <= waits.filter(({ mode }) => mode === "reader").length;
    return false;
  }

  private decode(lock: VirtualAddress, form: Parameters<LockState["decoder"]["decode"]>[1]): LockWord | undefined {
    try {
      return this.state.decoder.decode(lock, form);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  private sleepingForLocks(): Edge[] {
    return this.state.taskWaits.flatMap((wait) => {
      const from = this.actors.get(formatAddress(wait.task.address));
      // A task that was woken is about to take the lock or to try again.
      if (from === undefined || from.cpu !== undefined || !isAsleep(from)) return [];
      const form = this.state.decoder.formOf(wait.kind);
      const word = form === undefined ? undefined : this.decode(wait.lock, form);
      const handed = String(word?.fields.flags ?? "").includes("pickup");
      const owner = handed || wait.kind === "semaphore" ? undefined : word?.owner;
      const known = owner && this.actors.get(owner.address);
      const to = known !== undefined && !ended(known) ? [known] : [];
      // What the word says goes before what the code says.
      const others =
        to.length > 0 || owner !== undefined || (word !== undefined && saysFree(word))
          ? to
          : this.sureHolders(wait.lock);
      const dead = owner !== undefined && to.length === 0 && owner.address !== formatAddress(0n);
      return [
        {
          from,
          kind: "lock" as const,
          what: `sleeps for the ${wait.kind} ${lockText(this.state.kernel, wait.lock)}`,
          lock: wait.lock,
          word,
          to: others,
          owned: to.length > 0,
          gone: dead
            ? { address: owner.address, name: owner.pid < 0 ? "" : `${owner.comm} (PID ${owner.pid})` }
            : undefined,
          sleep: undefined,
          moment:
            this.isBeingWoken(from) ||
            this.state.taskWaits.some((other) => other.lock === wait.lock && this.isAwake(other)),
        },
      ];
    });
  }

  private isAwake({ task }: TaskWait): boolean {
    const actor = this.actors.get(formatAddress(task.address));
    return actor === undefined || actor.cpu !== undefined || !isAsleep(actor) || this.isBeingWoken(actor);
  }

  /** It is on somebody's list of tasks to wake (struct task_struct.wake_q, 4.2). */
  private isBeingWoken({ task }: Actor): boolean {
    const { structures: s, memory } = this.state.kernel;
    const member = s.find("struct task_struct", "wake_q.next") ?? s.find("struct task_struct", "wake_q");
    const bytes = member && memory.tryRead(addressAdd(task.address, member.offset), 8);
    return bytes !== undefined && getU64(bytes, 0) !== 0n;
  }

  private sureHolders(lock: VirtualAddress): Actor[] {
    return this.holders(lock, false).flatMap(({ actor, sure }) => (sure ? [actor] : []));
  }

  /** A CPU waits in a cross-call; whoever has its call in the queue has not answered. */
  private ipis(known: ReadonlySet<string>): Edge[] {
    return this.actors.all.flatMap((from) => {
      if (from.cpu === undefined || known.has(from.key)) return [];
      const frames = this.actors.frames(from).slice(0, 6);
      if (
        !frames.some(({ place }) =>
          /^(smp_call_function|csd_lock_wait|__csd_lock_wait|generic_exec_single|on_each_cpu)/.test(place.symbol),
        )
      )
        return [];
      const silent = this.machine.online.filter((cpu) => cpu !== from.cpu && this.machine.pendingCalls(cpu).length > 0);
      const to = silent.flatMap((cpu) => this.actors.onCpu(cpu) ?? []);
      if (to.length === 0) return [];
      return [
        {
          from,
          kind: "ipi" as const,
          what: `waits for CPU ${silent.join(", ")} to answer a cross-call`,
          lock: this.machine.pendingCalls(silent[0])[0],
          word: undefined,
          to,
          owned: true,
          gone: undefined,
          sleep: undefined,
          moment: false,
        },
      ];
    });
  }

  /** Tasks that sleep uninterruptibly for anything else. */
  private otherSleeps(known: ReadonlySet<string>): Edge[] {
    const sleeps = new Sleeps(this.actors);
    return this.actors.all.flatMap((from) => {
      if (from.details.letter !== "D" || from.cpu !== undefined || known.has(from.key)) return [];
      const sleep = sleeps.of(from);
      if (sleep === undefined) return [];
      const to = sleep.holder !== undefined ? [sleep.holder] : sleep.kind === "rcu" ? this.readers() : [];
      return [
        {
          from,
          kind: "sleep" as const,
          what: sleep.words,
          lock: sleep.object,
          word: undefined,
          to,
          owned: true,
          gone: undefined,
          sleep,
          moment: this.isBeingWoken(from),
        },
      ];
    });
  }

  private readers(): Actor[] {
    const grace = this.machine.gracePeriod();
    if (grace === undefined) return [];
    const cpus = grace.cpus.flatMap((cpu) => this.actors.onCpu(cpu) ?? []);
    return [...cpus, ...grace.tasks.flatMap((task) => this.actors.get(formatAddress(task)) ?? [])];
  }

  /** Every cycle, each once; each as the edges along it. */
  cycles(): Edge[][] {
    const out: Edge[][] = [];
    const done = new Set<string>();
    for (const start of this.edges) {
      const path: Edge[] = [];
      const on = new Map<string, number>();
      const visit = (edge: Edge): void => {
        if (done.has(edge.from.key)) return;
        const at = on.get(edge.from.key);
        if (at !== undefined) {
          out.push(path.slice(at));
          return;
        }
        if (path.length > 256) return;
        on.set(edge.from.key, path.length);
        path.push(edge);
        for (const next of edge.to) {
          const further = this.edgeOf(next);
          if (further !== undefined) visit(further);
        }
        path.pop();
        on.delete(edge.from.key);
        done.add(edge.from.key);
      };
      visit(start);
    }
    return out;
  }

  /** From an edge along the first holder to the one that waits for nobody: the edges, and who stands at the end. */
  chain(edge: Edge): { readonly edges: readonly Edge[]; readonly root: Actor | undefined } {
    const edges = [edge];
    const seen = new Set([edge.from.key]);
    for (let at: Edge = edge; ; ) {
      const next = at.to[0];
      if (next === undefined) return { edges, root: undefined };
      const further = this.edgeOf(next);
      if (further === undefined || seen.has(next.key)) return { edges, root: next };
      seen.add(next.key);
      edges.push(further);
      at = further;
    }
  }

  /** All that wait, directly or not, for one of these actors. */
  behind(keys: ReadonlySet<string>): Set<string> {
    const out = new Set<string>();
    for (let grew = true; grew; ) {
      grew = false;
      for (const { from, to } of this.edges) {
        if (keys.has(from.key) || out.has(from.key)) continue;
        if (!to.some(({ key }) => keys.has(key) || out.has(key))) continue;
        out.add(from.key);
        grew = true;
      }
    }
    return out;
  }
}

/** The word of a mutex or rw_semaphore says that nobody has it, whoever is on its list. */
export function saysFree(word: LockWord): boolean {
  if (word.owner !== undefined) return false;
  if (word.type === "mutex") return /^free\b/.test(word.meaning);
  return word.type === "rw_semaphore" && (word.fields.readers === 0 || /^free\b/.test(word.meaning));
}

/**
 * It sleeps: TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, or TASK_RTLOCK_WAIT (0x1000, 5.15). A task that is being woken
 * (TASK_WAKING) or runs has none of these bits. An unknown state counts as asleep.
 */
export function isAsleep({ task }: Actor): boolean {
  return task.state === undefined || (task.state & 0x1003) !== 0;
}

/** It will never run again. */
export function ended({ details, task }: Actor): boolean {
  return details.exitState !== 0 || (task.state !== undefined && (task.state & 0x80) !== 0 && details.letter === "X");
}
