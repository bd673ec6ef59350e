// The transition system of several CPUs as rows of integers: [local state of each CPU, store buffer of each CPU, shared
// memory]. Taking a transition is a few table look-ups in the automaton and in the shared memory.

import { Cells } from "../machine/cells.ts";
import { codeContext } from "../machine/code-context.ts";
import { Deadline } from "../machine/deadline.ts";
import { ATOMIC, DONE, FAULT, type Fault, FENCE, LOAD, type LocalState, STORE, WAIT } from "../machine/local-state.ts";
import { COUNTER } from "../machine/model-addresses.ts";
import type { Trace } from "../machine/processor.ts";
import { SharedMemory } from "../machine/shared-memory.ts";
import type { System } from "../types.ts";
import { Automaton } from "./automaton.ts";

/** What a transition is: cpu * MOVES + one of these. */
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

export interface ModelLimits {
  readonly localInstructions: number;
  readonly storeBuffer: number;
  /** Where nothing is given, runs may take as long as they do. */
  readonly deadline?: Deadline;
}

export class Model {
  readonly cpus: number;
  /** integers a row */
  readonly width: number;
  readonly memory: SharedMemory;
  readonly cells: Cells;
  /** Labels of the successors that the last `successors` call wrote. */
  readonly labels: Int32Array;
  /** A store buffer was full: its CPU waited for a drain. */
  bufferFilled = false;

  private readonly automaton: Automaton;
  private readonly tso: boolean;
  private readonly spurious: boolean;
  // Results of settle().
  private settledLocal = 0;
  private settledBuffer = 0;

  /** @param shared addresses of the cells that are known to be shared so far */
  constructor(
    readonly system: System,
    shared: readonly bigint[],
    readonly limits: ModelLimits,
    context = codeContext(system),
  ) {
    this.cpus = system.programs.length;
    this.width = this.cpus * 2 + 1;
    this.labels = new Int32Array(maxSuccessors(this.cpus));
    this.tso = system.model === "tso";
    this.cells = new Cells(context.memory, shared);
    this.memory = new SharedMemory(this.cells);
    this.spurious = context.environment.spuriousWakeups;
    this.automaton = new Automaton(system, context, this.cells, this.memory, {
      localInstructions: limits.localInstructions,
      deadline: limits.deadline ?? new Deadline(),
    });
  }

  get bytes(): number {
    return this.memory.bytes + this.automaton.bytes;
  }
  get localStates(): number {
    return this.automaton.states.length;
  }
  /** Loads at which counted spins were cut short, with the iterations skipped. */
  get spinPlaces(): ReadonlyMap<bigint, string> {
    return this.automaton.spinPlaces;
  }
  local(id: number): LocalState {
    return this.automaton.states[id];
  }
  actionOf(local: number): number {
    return this.automaton.action[local];
  }
  faultOf(local: number): Fault | undefined {
    return this.automaton.faults[local];
  }
  holds(local: number): boolean {
    return this.automaton.holds[local] === 1;
  }

  /** The row at the start. @throws SharingChange, ForgettingFailed as every method that runs instructions */
  initial(): Int32Array {
    const row = new Int32Array(this.width);
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      this.settle(this.automaton.start(cpu), 0);
      row[cpu] = this.settledLocal;
      row[this.cpus + cpu] = this.settledBuffer;
    }
    row[this.cpus * 2] = this.memory.initial;
    return row;
  }

  /**
   * Takes what needs nobody else: stores enter the CPU's own buffer, fences with an empty buffer are passed. Both
   * commute with every step of the others and with drains, so that taking them at once loses no outcome.
   */
  private settle(start: number, startBuffer: number, trace?: Trace, stored?: (buffer: number) => void): void {
    const { action, operand } = this.automaton;
    let local = start;
    let buffer = startBuffer;
    while (this.tso) {
      if (action[local] === STORE) {
        if (buffer !== 0 && this.memory.depth(buffer) >= this.limits.storeBuffer) {
          this.bufferFilled = true;
          break;
        }
        buffer = this.memory.push(buffer, operand[local]);
        stored?.(buffer);
      } else if (action[local] !== FENCE || buffer !== 0) {
        break;
      }
      local =
        trace === undefined ? this.automaton.after(local) : this.automaton.retrace(local, undefined, false, trace);
    }
    this.settledLocal = local;
    this.settledBuffer = buffer;
  }

  /**
   * All states that can follow `row`, one row after the other in `out`; their labels in `labels`.
   * @returns how many
   */
  successors(row: Int32Array, out: Int32Array): number {
    const { cpus, width, memory, automaton } = this;
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
      switch (automaton.action[local]) {
        case LOAD: {
          const step = automaton.step(local, memory.view(content, buffer, automaton.operand[local]));
          this.settle(automaton.next[step], buffer);
          emit(cpu, RUN, this.settledLocal, this.settledBuffer, content);
          if (automaton.spinning[step] === 1) {
            const exit = automaton.exitOf(step, content, buffer);
            if (exit >= 0) emit(cpu, GIVE_UP, exit, buffer, content);
          }
          break;
        }
        case ATOMIC:
        case WAIT: {
          if (buffer !== 0) break;
          const value = memory.read(content, automaton.operand[local]);
          const step = automaton.step(local, value);
          if (automaton.next[step] < 0) {
            if (!this.spurious) break;
            this.settle(automaton.wake(local, value), 0);
            emit(cpu, WAKE, this.settledLocal, this.settledBuffer, content);
            break;
          }
          const store = automaton.store[step];
          this.settle(automaton.next[step], 0);
          emit(cpu, RUN, this.settledLocal, this.settledBuffer, store < 0 ? content : memory.write(content, store));
          break;
        }
        case STORE:
          // Only "sc" stops at stores: they reach memory at once.
          if (!this.tso) emit(cpu, RUN, automaton.after(local), 0, memory.write(content, automaton.operand[local]));
          break;
        default:
          break;
      }
    }
    return count;
  }

  /** Sum of the CPUs' marks in the row at `offset`: 0 for most states. */
  marks(rows: Int32Array, offset: number): number {
    const { mark } = this.automaton;
    let sum = 0;
    for (let cpu = 0; cpu < this.cpus; cpu++) sum += mark[rows[offset + cpu]];
    return sum;
  }

  /** All CPUs have finished and all stores have reached memory. */
  isFinished(row: Int32Array): boolean {
    for (let cpu = 0; cpu < this.cpus; cpu++)
      if (this.automaton.action[row[cpu]] !== DONE || row[this.cpus + cpu] !== 0) return false;
    return true;
  }

  /** CPUs between their lock's return and their unlock's call. */
  holders(row: Int32Array): number {
    let count = 0;
    for (let cpu = 0; cpu < this.cpus; cpu++) count += this.automaton.holds[row[cpu]];
    return count;
  }

  /** The first CPU that cannot go on, or -1. */
  faulted(row: Int32Array): number {
    for (let cpu = 0; cpu < this.cpus; cpu++) if (this.automaton.action[row[cpu]] === FAULT) return cpu;
    return -1;
  }

  /** Bytes of shared memory in a state (not in store buffers), e.g. the lock word. The range must be shared. */
  bytesAt(content: number, address: bigint, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => Number(this.memory.peek(content, address + BigInt(i), 1)));
  }

  /**
   * Performs one transition again, instruction by instruction, for the witness.
   * @param trace told of each instruction
   * @param stored told after a store has entered the buffer, with the buffer's new number
   */
  retrace(row: Int32Array, label: number, trace: Trace, stored: (buffer: number) => void): void {
    const { automaton, memory } = this;
    const cpu = Math.floor(label / MOVES);
    const move = label % MOVES;
    const local = row[cpu];
    const buffer = row[this.cpus + cpu];
    if (move === DRAIN) {
      this.settle(local, memory.rest(buffer), trace, stored);
      return;
    }
    if (automaton.action[local] === STORE) {
      automaton.retrace(local, undefined, false, trace);
      return;
    }
    const value = memory.view(row[this.width - 1], buffer, automaton.operand[local]);
    const next = automaton.retrace(local, memory.value(value), move === WAKE, trace);
    if (move === GIVE_UP) {
      const skipped = automaton.skippedBy(automaton.step(local, value));
      trace(automaton.states[local].rip, undefined, `(spins ${skipped} times more, reading the same)`);
    } else {
      this.settle(next, buffer, trace, stored);
    }
  }

  /** Performs a CPU's first instructions again. */
  retraceStart(cpu: number, trace: Trace, stored: (buffer: number) => void): void {
    this.settle(this.automaton.start(cpu, trace), 0, trace, stored);
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
