// One CPU after another as an automaton: local states are numbers, and where a state goes when its shared place holds a
// value is worked out once, by running the instructions, and then looked up.
import type { Cells } from "../machine/cells.ts";
import type { CodeContext } from "../machine/code-context.ts";
import { type CountedSpin, countedSpin, type History } from "../machine/counted-spin.ts";
import type { Deadline } from "../machine/deadline.ts";
import { DONE, FAULT, type Fault, LOAD, type LocalState, localKey } from "../machine/local-state.ts";
import { type Outcome, Processor, type Stop, type Trace } from "../machine/processor.ts";
import type { SharedMemory } from "../machine/shared-memory.ts";
import type { System } from "../types.ts";
import { PairMap } from "./pair-map.ts";

/** Marks of local states, to be summed over at most 255 CPUs. */
export const HOLDS = 1;
export const FAULTED = 1 << 8;
export const FINISHED = 1 << 16;

/** What a local state costs in memory, roughly. */
const LOCAL_BYTES = 900;

/**
 * A register that counted as dead made a difference. Not an error of the user's: the explorer starts again and forgets
 * nothing.
 */
export class ForgettingFailed extends Error {}

interface KnownSpin extends CountedSpin {
  /** local state of the last iteration; -1 when the spin never ends by its count */
  readonly exit: number;
}

export class Automaton {
  // By local state.
  readonly states: LocalState[] = [];
  readonly action: number[] = [];
  /** access id for LOAD, ATOMIC and WAIT, store id for STORE */
  readonly operand: number[] = [];
  /** 1 between the lock's return and the unlock's call */
  readonly holds: number[] = [];
  readonly faults: (Fault | undefined)[] = [];
  /** HOLDS, FAULTED, FINISHED or 0: a sum over the CPUs tells what is special about a global state */
  readonly mark: number[] = [];
  private readonly ids = new Map<string, number>();
  /** where STORE and FENCE go on; -1 while not known */
  private readonly straight: number[] = [];
  /** how a state was first reached */
  private readonly parents: number[] = [];
  private readonly parentValues: number[] = [];
  private readonly skipped = new Map<number, CountedSpin>();

  // By step, which is a (local state, value id).
  private readonly steps = new PairMap();
  /** the local state after the step; -1 for a WAIT that goes on sleeping */
  readonly next: number[] = [];
  /** store id that an atomic step writes; -1 for none */
  readonly store: number[] = [];
  /** 1 when the step is one of a counted spin */
  readonly spinning: number[] = [];
  private readonly spins = new Map<number, KnownSpin>();
  private readonly wakes = new Map<number, number>();
  /** Loads at which counted spins were cut short, with the iterations skipped: rip → "1022" or "endless". */
  readonly spinPlaces = new Map<bigint, string>();

  private readonly processors: readonly Processor[];
  private readonly history: History = {
    state: (id) => this.states[id],
    action: (id) => this.action[id],
    operand: (id) => this.operand[id],
    parent: (id) => this.parents[id],
    parentValue: (id) => this.parentValues[id],
    value: (id) => this.memory.value(id),
    place: (access) => this.memory.access(access).address,
    skipped: (id) => this.skipped.get(id),
  };

  constructor(
    system: System,
    private readonly context: CodeContext,
    cells: Cells,
    private readonly memory: SharedMemory,
    limits: { readonly localInstructions: number; readonly deadline: Deadline },
  ) {
    this.processors = system.programs.map(
      (program, i) =>
        new Processor(i, program, context, cells, memory, {
          gsBase: system.gsBases?.[i] ?? 0n,
          fences: system.model === "tso",
          interruptsOn: system.interruptsOn ?? true,
          checkInterrupts: system.checkInterrupts ?? true,
          keepRegisters: system.keepRegisters ?? false,
          ...limits,
        }),
    );
  }

  get bytes(): number {
    return this.steps.bytes + this.next.length * 24 + this.states.length * LOCAL_BYTES;
  }

  private processorOf(local: number): Processor {
    return this.processors[this.states[local].cpu];
  }

  /** The local state at which a CPU first stops. */
  start(cpu: number, trace?: Trace): number {
    const processor = this.processors[cpu];
    const stop = processor.start(trace);
    return this.intern(processor.snapshot(), stop);
  }

  private intern(state: LocalState, stop: Stop, parent = -1, value = -1): number {
    const key = localKey(state);
    let id = this.ids.get(key);
    if (id === undefined) {
      id = this.states.length;
      this.ids.set(key, id);
      this.states.push(state);
      this.action.push(stop.action);
      this.operand.push(stop.operand);
      this.faults.push(stop.fault);
      const holds = this.processors[state.cpu].holds(state);
      this.holds.push(holds ? 1 : 0);
      this.mark.push(holds ? HOLDS : stop.action === FAULT ? FAULTED : stop.action === DONE ? FINISHED : 0);
      this.straight.push(-1);
      this.parents.push(parent);
      this.parentValues.push(value);
    }
    return id;
  }

  /**
   * Takes the visible step of a state; where registers were forgotten, also from the state as it really was: both must
   * come to the same.
   */
  private perform(local: number, value: bigint | undefined, wake = false): { outcome: Outcome; state: LocalState } {
    const processor = this.processorOf(local);
    const forgotten = this.states[local];
    let real: { outcome: Outcome; state: LocalState } | undefined;
    if (forgotten.forgotten !== undefined) {
      const outcome = processor.resume({ ...forgotten, ...forgotten.forgotten }, value, wake);
      real = { outcome, state: processor.snapshot() };
    }
    const outcome = processor.resume(forgotten, value, wake);
    const state = processor.snapshot();
    if (real !== undefined) {
      const a = real.outcome;
      const same =
        a.stop.action === outcome.stop.action &&
        a.stop.operand === outcome.stop.operand &&
        a.store === outcome.store &&
        a.asleep === outcome.asleep &&
        (a.asleep || localKey(real.state) === localKey(state));
      if (!same) throw new ForgettingFailed();
      return real;
    }
    return { outcome, state };
  }

  /** Where a STORE or FENCE goes on. */
  after(local: number): number {
    let next = this.straight[local];
    if (next < 0) {
      const { outcome, state } = this.perform(local, undefined);
      next = this.intern(state, outcome.stop, local);
      this.straight[local] = next;
    }
    return next;
  }

  /** The number of the step that `local` takes when its shared place holds the value; index into next, store, spinning. */
  step(local: number, value: number): number {
    let step = this.steps.get(local, value);
    if (step < 0) {
      const { outcome, state } = this.perform(local, this.memory.value(value));
      step = this.next.length;
      const spin =
        this.action[local] === LOAD && outcome.stop.action === LOAD
          ? this.spin(local, value, state, outcome.stop)
          : undefined;
      if (spin !== undefined) this.spins.set(step, spin);
      this.next.push(outcome.asleep ? -1 : (spin?.head ?? this.intern(state, outcome.stop, local, value)));
      this.store.push(outcome.store);
      this.spinning.push(spin === undefined ? 0 : 1);
      this.steps.set(local, value, step);
    }
    return step;
  }

  /** Where a sleeping WAIT goes when it wakes without its bit. */
  wake(local: number, value: number): number {
    let next = this.wakes.get(local);
    if (next === undefined) {
      const { outcome, state } = this.perform(local, this.memory.value(value), true);
      next = this.intern(state, outcome.stop);
      this.wakes.set(local, next);
    }
    return next;
  }

  private spin(local: number, value: number, state: LocalState, stop: Stop): KnownSpin | undefined {
    if (this.ids.has(localKey(state))) return undefined;
    const processor = this.processors[state.cpu];
    const found = countedSpin(this.history, this.context.spins, processor, local, value, state, stop.operand);
    if (found === undefined) return undefined;
    this.spinPlaces.set(state.rip, found.last === undefined ? "endless" : `${found.iterations}`);
    if (found.last === undefined) return { ...found, exit: -1 };
    const known = this.states.length;
    const exit = this.intern(found.last, stop, local, value);
    if (exit === known) this.skipped.set(exit, found);
    const reads = found.reads.filter(
      (read, i) => found.reads.findIndex((r) => r.access === read.access && r.value === read.value) === i,
    );
    return { ...found, exit, reads };
  }

  /** The end of the counted spin that a step belongs to, when memory holds what the skipped iterations read; -1 otherwise. */
  exitOf(step: number, content: number, buffer: number): number {
    const spin = this.spins.get(step);
    if (spin === undefined) return -1;
    for (const { access, value } of spin.reads) if (this.memory.view(content, buffer, access) !== value) return -1;
    return spin.exit;
  }

  /** Iterations left out by giving up at this step. */
  skippedBy(step: number): number {
    return this.spins.get(step)?.iterations ?? 0;
  }

  /** Takes a step again, telling each instruction. */
  retrace(local: number, value: bigint | undefined, wake: boolean, trace: Trace): number {
    const processor = this.processorOf(local);
    const { stop } = processor.resume(this.states[local], value, wake, trace);
    return this.intern(processor.snapshot(), stop);
  }
}
