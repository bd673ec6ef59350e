// The transition system of several CPUs as rows of integers: [local state of each CPU, store buffer of each CPU, shared
// memory]. A step that was taken once is a table look-up; only a new (local state, value read) runs instructions.
import { Cells } from "./cells.ts";
import { codeContext } from "./code-context.ts";
import { type CountedSpin, countedSpin, type History } from "./counted-spin.ts";
import { ATOMIC, DONE, FAULT, type Fault, FENCE, LOAD, type LocalState, localKey, STORE, WAIT } from "./local-state.ts";
import { COUNTER } from "./model-addresses.ts";
import { PairMap } from "./pair-map.ts";
import { Processor, type Stop, type Trace } from "./processor.ts";
import { SharedMemory } from "./shared-memory.ts";
import type { System } from "./types.ts";

/** What a transition is: cpu * 4 + one of these. */
export const RUN = 0;
export const DRAIN = 1;
/** A sleeping CPU wakes without a kick. */
export const WAKE = 2;
/** A counted spin runs out: see counted-spin.ts. */
export const GIVE_UP = 3;
export const MOVES = 4;

/** Most successors that a state can have. */
export function maxSuccessors(cpus: number): number {
  return cpus * 3;
}

const LOCAL_BYTES = 700;

export interface ModelLimits {
  readonly localInstructions: number;
  readonly storeBuffer: number;
}

export class Model {
  readonly cpus: number;
  /** integers a row */
  readonly width: number;
  readonly memory: SharedMemory;
  readonly cells: Cells;
  /** Labels of the successors that the last `successors` call wrote. */
  readonly labels: Int32Array;
  /** Loads at which counted spins were cut short, with the iterations skipped: rip → "1022" or "endless". */
  readonly spinPlaces = new Map<bigint, string>();
  /** A store buffer was full: its CPU waited for a drain. */
  bufferFilled = false;

  private readonly processors: readonly Processor[];
  private readonly tso: boolean;
  private readonly spurious: boolean;
  // Local states by number.
  private readonly states: LocalState[] = [];
  private readonly ids = new Map<string, number>();
  readonly action: number[] = [];
  private readonly operand: number[] = [];
  readonly holds: number[] = [];
  readonly faults: (Fault | undefined)[] = [];
  /** where STORE and FENCE go on; -1 while not known */
  private readonly straight: number[] = [];
  // Steps (local state, value) by number.
  private readonly steps = new PairMap();
  private readonly stepNext: number[] = [];
  private readonly stepStore: number[] = [];
  private readonly wakes = new Map<number, number>();
  // How each local state was first reached, and the counted spins found on the way, by step.
  private readonly parents: number[] = [];
  private readonly parentValues: number[] = [];
  private readonly spins = new Map<number, CountedSpin & { readonly exit: number }>();
  /** 1 for steps that are in `spins` */
  private readonly stepSpins: number[] = [];
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
  private readonly skipped = new Map<number, CountedSpin>();
  // Results of settle().
  private settledLocal = 0;
  private settledBuffer = 0;

  /** @param shared addresses of the cells that are known to be shared so far */
  constructor(
    readonly system: System,
    shared: readonly bigint[],
    readonly limits: ModelLimits,
    private readonly context = codeContext(system),
  ) {
    this.cpus = system.programs.length;
    this.width = this.cpus * 2 + 1;
    this.labels = new Int32Array(maxSuccessors(this.cpus));
    this.tso = system.model === "tso";
    this.cells = new Cells(context.memory, shared);
    this.memory = new SharedMemory(this.cells);
    this.spurious = context.environment.spuriousWakeups;
    this.processors = system.programs.map(
      (program, i) =>
        new Processor(i, program, context, this.cells, this.memory, {
          gsBase: system.gsBases?.[i] ?? 0n,
          fences: this.tso,
          interruptsOn: system.interruptsOn ?? true,
          checkInterrupts: system.checkInterrupts ?? true,
          keepRegisters: system.keepRegisters ?? false,
          localInstructions: limits.localInstructions,
        }),
    );
  }

  get bytes(): number {
    return this.memory.bytes + this.steps.bytes + this.stepNext.length * 16 + this.states.length * LOCAL_BYTES;
  }
  get localStates(): number {
    return this.states.length;
  }
  local(id: number): LocalState {
    return this.states[id];
  }
  operandOf(id: number): number {
    return this.operand[id];
  }

  /** The row at the start. @throws SharingChange as every method that runs instructions */
  initial(): Int32Array {
    const row = new Int32Array(this.width);
    this.processors.forEach((processor, i) => {
      const stop = processor.start();
      this.settle(this.intern(processor.snapshot(), stop), 0);
      row[i] = this.settledLocal;
      row[this.cpus + i] = this.settledBuffer;
    });
    row[this.cpus * 2] = this.memory.initial;
    return row;
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
      this.holds.push(this.processors[state.cpu].holds(state) ? 1 : 0);
      this.straight.push(-1);
      this.parents.push(parent);
      this.parentValues.push(value);
    }
    return id;
  }

  /** Where a STORE or FENCE goes on. */
  private after(local: number): number {
    let next = this.straight[local];
    if (next < 0) {
      const processor = this.processors[this.states[local].cpu];
      const { stop } = processor.resume(this.states[local], undefined);
      next = this.intern(processor.snapshot(), stop, local);
      this.straight[local] = next;
    }
    return next;
  }

  /**
   * Takes what needs nobody else: stores enter the CPU's own buffer, fences with an empty buffer are passed. Both
   * commute with every step of the others and with drains, so that taking them at once loses no outcome.
   */
  private settle(local: number, buffer: number): void {
    if (this.tso) {
      for (;;) {
        const action = this.action[local];
        if (action === STORE) {
          if (buffer !== 0 && this.memory.depth(buffer) >= this.limits.storeBuffer) {
            this.bufferFilled = true;
            break;
          }
          buffer = this.memory.push(buffer, this.operand[local]);
        } else if (action !== FENCE || buffer !== 0) {
          break;
        }
        local = this.after(local);
      }
    }
    this.settledLocal = local;
    this.settledBuffer = buffer;
  }

  /** The step of `local` when its shared place holds `value`; a sleeping WAIT has next -1. */
  private step(local: number, value: number): number {
    let step = this.steps.get(local, value);
    if (step < 0) {
      const processor = this.processors[this.states[local].cpu];
      const { stop, store, asleep } = processor.resume(this.states[local], this.memory.value(value));
      step = this.stepNext.length;
      let next = -1;
      if (!asleep) {
        const state = processor.snapshot();
        const spin = this.action[local] === LOAD && stop.action === LOAD && this.spin(local, value, state, stop);
        if (spin) {
          next = spin.head;
          this.spins.set(step, spin);
        } else {
          next = this.intern(state, stop, local, value);
        }
      }
      this.stepNext.push(next);
      this.stepStore.push(store);
      this.stepSpins.push(this.spins.has(step) ? 1 : 0);
      this.steps.set(local, value, step);
    }
    return step;
  }

  private spin(
    local: number,
    value: number,
    state: LocalState,
    stop: Stop,
  ): (CountedSpin & { exit: number }) | undefined {
    if (this.ids.has(localKey(state))) return undefined;
    const processor = this.processors[state.cpu];
    const found = countedSpin(this.history, this.context.spins, processor, local, value, state, stop.operand);
    if (found === undefined) return undefined;
    const place = found.last === undefined ? "endless" : `${found.iterations}`;
    this.spinPlaces.set(state.rip, place);
    if (found.last === undefined) return { ...found, exit: -1 };
    const known = this.states.length;
    const exit = this.intern(found.last, stop, local, value);
    if (exit === known) this.skipped.set(exit, found);
    const reads = found.reads.filter(
      (read, i) => found.reads.findIndex((r) => r.access === read.access && r.value === read.value) === i,
    );
    return { ...found, exit, reads };
  }

  /** The end of a counted spin when memory holds what the skipped iterations read; -1 otherwise. */
  private exitOf(step: number, content: number, buffer: number): number {
    const spin = this.spins.get(step);
    if (spin === undefined) return -1;
    for (const { access, value } of spin.reads) if (this.memory.view(content, buffer, access) !== value) return -1;
    return spin.exit;
  }

  private wake(local: number, value: number): number {
    let next = this.wakes.get(local);
    if (next === undefined) {
      const processor = this.processors[this.states[local].cpu];
      const { stop } = processor.resume(this.states[local], this.memory.value(value), true);
      next = this.intern(processor.snapshot(), stop);
      this.wakes.set(local, next);
    }
    return next;
  }

  /**
   * All states that can follow `row`, one row after the other in `out`; their labels in `labels`.
   * @returns how many
   */
  successors(row: Int32Array, out: Int32Array): number {
    const { cpus, width, memory } = this;
    const content = row[width - 1];
    let count = 0;
    const emit = (cpu: number, move: number, local: number, buffer: number, after: number): void => {
      const at = count * width;
      for (let i = 0; i < width; i++) out[at + i] = row[i];
      out[at + cpu] = local;
      out[at + cpus + cpu] = buffer;
      out[at + width - 1] = after;
      this.labels[count++] = cpu * MOVES + move;
    };
    for (let cpu = 0; cpu < cpus; cpu++) {
      const local = row[cpu];
      const buffer = row[cpus + cpu];
      if (buffer !== 0) {
        this.settle(local, memory.rest(buffer));
        emit(cpu, DRAIN, this.settledLocal, this.settledBuffer, memory.write(content, memory.oldest(buffer)));
      }
      switch (this.action[local]) {
        case LOAD: {
          const step = this.step(local, memory.view(content, buffer, this.operand[local]));
          this.settle(this.stepNext[step], buffer);
          emit(cpu, RUN, this.settledLocal, this.settledBuffer, content);
          if (this.stepSpins[step] === 1) {
            const exit = this.exitOf(step, content, buffer);
            if (exit >= 0) emit(cpu, GIVE_UP, exit, buffer, content);
          }
          break;
        }
        case ATOMIC:
        case WAIT: {
          if (buffer !== 0) break;
          const value = memory.read(content, this.operand[local]);
          const step = this.step(local, value);
          const next = this.stepNext[step];
          if (next < 0) {
            if (!this.spurious) break;
            this.settle(this.wake(local, value), 0);
            emit(cpu, WAKE, this.settledLocal, this.settledBuffer, content);
            break;
          }
          const store = this.stepStore[step];
          this.settle(next, 0);
          emit(cpu, RUN, this.settledLocal, this.settledBuffer, store < 0 ? content : memory.write(content, store));
          break;
        }
        case STORE:
          // Only "sc" stops at stores: they reach memory at once.
          if (!this.tso) emit(cpu, RUN, this.after(local), 0, memory.write(content, this.operand[local]));
          break;
        default:
          break;
      }
    }
    return count;
  }

  /** All CPUs have finished and all stores have reached memory. */
  isFinished(row: Int32Array): boolean {
    for (let cpu = 0; cpu < this.cpus; cpu++)
      if (this.action[row[cpu]] !== DONE || row[this.cpus + cpu] !== 0) return false;
    return true;
  }

  /** CPUs between their lock's return and their unlock's call. */
  holders(row: Int32Array): number {
    let count = 0;
    for (let cpu = 0; cpu < this.cpus; cpu++) count += this.holds[row[cpu]];
    return count;
  }

  /** The first CPU that cannot go on, or -1. */
  faulted(row: Int32Array): number {
    for (let cpu = 0; cpu < this.cpus; cpu++) if (this.action[row[cpu]] === FAULT) return cpu;
    return -1;
  }

  /** Bytes of shared memory in a state (not in store buffers), e.g. the lock word. The range must be shared. */
  bytesAt(content: number, address: bigint, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => Number(this.memory.peek(content, address + BigInt(i), 1)));
  }

  /**
   * Performs one transition again, instruction by instruction, for the witness.
   * @param trace told of each instruction; `stored` after a store has entered the buffer, with the buffer's new number
   */
  retrace(row: Int32Array, label: number, trace: Trace, stored: (buffer: number) => void): void {
    const cpu = Math.floor(label / MOVES);
    const local = row[cpu];
    let buffer = row[this.cpus + cpu];
    if (label % MOVES === DRAIN) {
      buffer = this.memory.rest(buffer);
      if (this.action[local] === FENCE) this.retraceSettled(local, buffer, trace, stored);
      return;
    }
    const content = row[this.width - 1];
    const processor = this.processors[cpu];
    const action = this.action[local];
    const value =
      action === STORE ? undefined : this.memory.value(this.memory.view(content, buffer, this.operand[local]));
    const { stop } = processor.resume(this.states[local], value, label % MOVES === WAKE, trace);
    if (label % MOVES === GIVE_UP) {
      const access = this.memory.view(content, buffer, this.operand[local]);
      const iterations = this.spins.get(this.step(local, access))?.iterations ?? 0;
      trace(this.states[local].rip, undefined, `(spins ${iterations} times more, reading the same)`);
      return;
    }
    this.retraceSettled(this.intern(processor.snapshot(), stop), buffer, trace, stored);
  }

  /** Performs a CPU's first instructions again. */
  retraceStart(cpu: number, trace: Trace, stored: (buffer: number) => void): void {
    const stop = this.processors[cpu].start(trace);
    this.retraceSettled(this.intern(this.processors[cpu].snapshot(), stop), 0, trace, stored);
  }

  private retraceSettled(local: number, buffer: number, trace: Trace, stored: (buffer: number) => void): void {
    while (this.tso) {
      if (this.action[local] === STORE) {
        buffer = this.memory.push(buffer, this.operand[local]);
        stored(buffer);
      } else if (this.action[local] !== FENCE || buffer !== 0) {
        return;
      }
      const processor = this.processors[this.states[local].cpu];
      const { stop } = processor.resume(this.states[local], undefined, false, trace);
      local = this.intern(processor.snapshot(), stop);
    }
  }
}

/** Cells that are shared by their nature: the lock word and the critical section's counter. */
export function sharedFromTheStart(system: System): bigint[] {
  const cells: bigint[] = [];
  const { lock } = system;
  if (lock !== undefined)
    for (let at = lock.address & ~7n; at < lock.address + BigInt(lock.length); at += 8n) cells.push(at);
  if (system.programs.some((p) => p.phases.some((phase) => phase.kind === "critical-section"))) cells.push(COUNTER);
  return cells;
}
