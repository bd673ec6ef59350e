// One CPU at work: runs instructions from a local state until the next thing that other CPUs can see or that waits for
// them. Everything in between (registers, own stack, per-CPU variables, constants) is invisible and taken in one go.
import { formatAddress } from "../../bytes/brand.ts";
import { AddressError, UnsupportedError } from "../../bytes/errors.ts";
import type { CpuProgram, Phase } from "../types.ts";
import type { Cells } from "./cells.ts";
import type { CodeContext } from "./code-context.ts";
import { CpuMemory } from "./cpu-memory.ts";
import type { Deadline } from "./deadline.ts";
import { type Code, disassemble } from "./decode.ts";
import type { EnvironmentModel, EnvironmentStep } from "./environment.ts";
import type { Liveness, StackView } from "./liveness.ts";
import {
  ATOMIC,
  DONE,
  FAULT,
  type Fault,
  FENCE,
  LOAD,
  type LocalState,
  localKey,
  STORE,
  STUCK,
  WAIT,
} from "./local-state.ts";
import { COUNTER, isOwnStack, poison, RETURN_ADDRESS, stackTop } from "./model-addresses.ts";
import type { Operation } from "./operation.ts";
import { AC, ARITHMETIC, CpuRegisterFile, DF, IF, MASK64, RAX, RBP, RSP, registerNumber } from "./registers.ts";
import { push } from "./semantics-control.ts";
import type { SharedMemory } from "./shared-memory.ts";

/** Where a run stopped. */
export interface Stop {
  readonly action: number;
  /** access id for LOAD, ATOMIC, WAIT; store id for STORE; -1 otherwise */
  readonly operand: number;
  readonly fault?: Fault;
}

/** What came of one visible step. */
export interface Outcome {
  readonly stop: Stop;
  /** Store id that an atomic step wrote to memory; -1 for none. */
  readonly store: number;
  /** A WAIT whose bit is not set: nothing happened. */
  readonly asleep: boolean;
}

/** Told of each instruction (or, without an operation, each step of the model) before it is performed. */
export type Trace = (address: bigint, operation: Operation | undefined, text: string) => void;

export interface ProcessorOptions {
  readonly gsBase: bigint;
  /** Stop in front of fences: the store buffers of "tso". */
  readonly fences: boolean;
  readonly interruptsOn: boolean;
  readonly checkInterrupts: boolean;
  readonly keepRegisters: boolean;
  /** Invisible instructions in one go before the run is given up. */
  readonly localInstructions: number;
  readonly deadline: Deadline;
}

const NOTHING_PENDING = -1;
/** All of a register but its two low bytes. */
const UPPER = MASK64 ^ 0xffffn;
/** From here on a run is watched for a state that comes back. */
const WATCH_AFTER = 2048;

export class Processor {
  private readonly code: Code;
  private readonly environment: EnvironmentModel;
  private readonly liveness: Liveness;
  private readonly cpu: CpuRegisterFile;
  private readonly memory: CpuMemory;
  private readonly phases: readonly Phase[];
  private readonly phaseCount: number;
  private readonly needsResult: boolean;
  private phase = 0;
  private position = 0;
  private result = 0n;
  private pending = NOTHING_PENDING;
  private trace: Trace | undefined;
  /** instructions of this CPU in all runs */
  private ran = 0;

  constructor(
    readonly index: number,
    program: CpuProgram,
    context: CodeContext,
    cells: Cells,
    private readonly shared: SharedMemory,
    private readonly options: ProcessorOptions,
  ) {
    this.code = context.code;
    this.environment = context.environment;
    this.liveness = context.liveness;
    this.cpu = new CpuRegisterFile(options.gsBase);
    this.memory = new CpuMemory(index, cells, shared);
    this.phases = program.phases;
    this.phaseCount = program.phases.length * program.rounds;
    this.needsResult = program.phases.some(
      (p) => p.kind === "run" && Object.values(p.entry.registers).includes("result"),
    );
  }

  /** Runs from the very beginning to the first stop. */
  start(trace?: Trace): Stop {
    this.cpu.general.fill(0n);
    this.cpu.flags = this.options.interruptsOn ? IF : 0;
    this.cpu.rip = 0n;
    this.memory.restore([]);
    this.phase = 0;
    this.position = 0;
    this.result = 0n;
    this.pending = NOTHING_PENDING;
    this.trace = trace;
    return this.guarded(() => {
      this.beginPhase();
      return this.proceed();
    });
  }

  /**
   * Performs the visible step at which `state` stopped and runs on to the next stop.
   * @param value what the shared place holds, for LOAD, ATOMIC and WAIT
   * @param wake a WAIT returns although its bit is not set
   */
  resume(state: LocalState, value: bigint | undefined, wake = false, trace?: Trace): Outcome {
    this.restore(state);
    this.trace = trace;
    return this.goOn(value, wake);
  }

  /** Like `resume`, from the working state as the last call left it. */
  goOn(value: bigint | undefined, wake = false): Outcome {
    let store = -1;
    let asleep = false;
    const stop = this.guarded(() => {
      if (this.pending >= 0) {
        this.pending = -1;
        return this.proceed();
      }
      this.memory.beginStep(value);
      const step = this.phaseKind() === "run" ? this.environmentStep() : undefined;
      let atomic = false;
      if (this.phaseKind() === "critical-section") this.criticalSection();
      else if (step !== undefined) {
        atomic = true;
        asleep = !this.performEnvironment(step, wake);
      } else {
        const operation = this.code.at(this.cpu.rip);
        atomic = operation.accesses.some((a) => a.kind === "locked");
        this.execute(operation);
      }
      if (asleep) return { action: WAIT, operand: -1 };
      if (atomic) store = this.memory.captured;
      else if (this.memory.captured >= 0) return this.storeStop();
      return this.proceed();
    });
    return { stop, store, asleep };
  }

  /** The working state, frozen, without what the code ahead cannot read any more. */
  snapshot(): LocalState {
    const general = this.cpu.general.slice();
    const { flags } = this.cpu;
    if (this.phaseKind() === "run") this.forgetDead();
    const changed = flags !== this.cpu.flags || general.some((value, i) => value !== this.cpu.general[i]);
    return {
      cpu: this.index,
      general: this.cpu.general.slice(),
      rip: this.cpu.rip,
      flags: this.cpu.flags,
      phase: this.phase,
      position: this.position,
      result: this.result,
      pending: this.pending,
      memory: this.memory.snapshot(this.cpu.general[RSP]),
      forgotten: changed ? { general, flags } : undefined,
    };
  }

  /** True while the CPU stands between the lock's return and the unlock's call. */
  holds(state: LocalState): boolean {
    return state.phase < this.phaseCount && this.phases[state.phase % this.phases.length].kind === "critical-section";
  }

  /** Takes a state as the working state. */
  restore(state: LocalState): void {
    this.cpu.general.set(state.general);
    this.cpu.rip = state.rip;
    this.cpu.flags = state.flags;
    this.phase = state.phase;
    this.position = state.position;
    this.result = state.result;
    this.pending = state.pending;
    this.memory.restore(state.memory);
  }

  /** The working registers, for looking only. */
  get registers(): CpuRegisterFile {
    return this.cpu;
  }
  /** Stores to private memory since the processor was made. */
  get privateStores(): number {
    return this.memory.privateStores;
  }

  private stackView(): StackView {
    const { general } = this.cpu;
    const rsp = general[RSP];
    const offsetOf = (address: bigint): number | undefined =>
      isOwnStack(this.index, address) ? Number(address - rsp) : undefined;
    return {
      frame: offsetOf(general[RBP]),
      offsetOf,
      slot: (offset) => (offset < 0 ? undefined : this.memory.ownStackSlot(rsp + BigInt(offset))),
    };
  }

  /** Overwrites what the code ahead cannot read: wholly dead registers become no address, so that a mistake shows. */
  forgetDead(): void {
    const { low, high, flags } = this.liveness.at(this.cpu.rip, this.stackView());
    const { general } = this.cpu;
    for (let i = 0; i < 16; i++) {
      if (i === RSP) continue;
      const byte0 = (low >> i) & 1;
      const byte1 = (low >> (i + 16)) & 1;
      const rest = (high >> i) & 1;
      if ((byte0 & byte1 & rest) === 1) continue;
      if ((byte0 | byte1 | rest) === 0) general[i] = poison(i);
      else general[i] &= (byte0 ? 0xffn : 0n) | (byte1 ? 0xff00n : 0n) | (rest ? UPPER : 0n);
    }
    this.cpu.flags &= flags | ~ARITHMETIC;
  }

  private phaseKind(): Phase["kind"] | "done" {
    return this.phase < this.phaseCount ? this.phases[this.phase % this.phases.length].kind : "done";
  }

  /** Turns what a broken or unknown instruction throws into a fault at that instruction. */
  private guarded(run: () => Stop): Stop {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof UnsupportedError || error instanceof AddressError)) throw error;
      const at = formatAddress(this.cpu.rip);
      const reason = error.message.startsWith(at) ? error.message : `${at}: ${error.message}`;
      return { action: FAULT, operand: -1, fault: { kind: "unsupported", reason } };
    }
  }

  private fault(kind: Fault["kind"], reason: string): Stop {
    return { action: FAULT, operand: -1, fault: { kind, reason } };
  }

  private beginPhase(): void {
    this.position = 0;
    const phase = this.phases[this.phase % this.phases.length];
    if (this.phase >= this.phaseCount) {
      if (!this.options.keepRegisters) this.scrub();
      return;
    }
    const result = this.result;
    this.scrub();
    if (phase.kind !== "run") {
      this.result = result;
      return;
    }
    const { entry } = phase;
    for (const name of Object.keys(entry.registers) as (keyof typeof entry.registers)[]) {
      const value = entry.registers[name];
      if (value !== undefined) this.cpu.general[registerNumber(name)] = value === "result" ? result : value;
    }
    this.cpu.general[RSP] = stackTop(this.index);
    this.cpu.rip = entry.address;
    if (entry.stopAt === undefined) push(this.cpu, this.memory, RETURN_ADDRESS);
  }

  /** Registers that the ABI lets a function destroy carry nothing over: fewer states that differ in leftovers only. */
  private scrub(): void {
    for (let i = 0; i < 16; i++) this.cpu.general[i] = poison(i);
    this.cpu.general[RSP] = stackTop(this.index);
    this.cpu.flags &= IF | DF | AC;
    this.memory.clearStack();
    this.result = 0n;
  }

  private endPhase(): void {
    const result = this.needsResult && this.phaseKind() === "run" ? this.cpu.general[RAX] : this.result;
    const at = this.phase % this.phases.length;
    const phase = this.phases[at];
    if (phase.kind === "critical-section") this.cpu.general[RAX] = poison(RAX);
    const failed = phase.kind === "run" && phase.entry.tries === true && (this.cpu.general[RAX] & 0xffff_ffffn) === 0n;
    this.phase += failed ? this.phases.length - at : 1;
    this.result = result;
    this.beginPhase();
  }

  /** Runs on while nothing visible comes up. */
  private proceed(): Stop {
    let watched: LocalState | undefined;
    let fresh = false;
    const { localInstructions, deadline } = this.options;
    for (let count = 0; count < localInstructions; count++) {
      deadline.check(++this.ran);
      const kind = this.phaseKind();
      if (kind === "done") return this.finish();
      if (kind === "critical-section") {
        if (this.position === 0) return { action: LOAD, operand: this.shared.accessId(COUNTER, 8) };
        this.endPhase();
        fresh = true;
        continue;
      }
      if (!fresh && this.runEnded()) {
        const top = stackTop(this.index);
        if (this.cpu.general[RSP] !== top && this.currentStopAt() === undefined)
          return this.fault("trap", `returned with RSP off by ${BigInt.asIntN(64, this.cpu.general[RSP] - top)} bytes`);
        this.endPhase();
        fresh = true;
        continue;
      }
      fresh = false;
      this.memory.beginStep(undefined);
      const stop = this.visible();
      if (stop !== undefined) return stop;
      if (this.memory.captured >= 0) return this.storeStop();
      if (count >= WATCH_AFTER) {
        if (this.cpu.rip === watched?.rip && this.isAt(watched)) return { action: STUCK, operand: -1 };
        if ((count & (count - 1)) === 0) watched = this.snapshot();
      }
    }
    return this.fault("bound", `${formatAddress(this.cpu.rip)}: ${this.options.localInstructions} instructions alone`);
  }

  /** Is the working state this one? Registers are compared first: a loop that counts differs there. */
  private isAt(state: LocalState): boolean {
    this.forgetDead();
    for (let i = 0; i < 16; i++) if (this.cpu.general[i] !== state.general[i]) return false;
    return localKey(this.snapshot()) === localKey(state);
  }

  private finish(): Stop {
    const on = (this.cpu.flags & IF) !== 0;
    if (this.options.checkInterrupts && on !== this.options.interruptsOn)
      return this.fault("interrupts", `interrupts are left ${on ? "on" : "off"}`);
    return { action: DONE, operand: -1 };
  }

  private currentStopAt(): readonly bigint[] | undefined {
    const phase = this.phases[this.phase % this.phases.length];
    return phase.kind === "run" ? phase.entry.stopAt : undefined;
  }

  private runEnded(): boolean {
    const ends = this.currentStopAt();
    return ends === undefined ? this.cpu.rip === RETURN_ADDRESS : ends.includes(this.cpu.rip);
  }

  private storeStop(): Stop {
    this.pending = this.memory.captured;
    return { action: STORE, operand: this.pending };
  }

  /** The stop in front of the next instruction if others can see it; otherwise performs it. */
  private visible(): Stop | undefined {
    const operation = this.environment.isHooked(this.cpu.rip) ? undefined : this.code.at(this.cpu.rip);
    if (operation === undefined || operation.event !== undefined) {
      const stop = this.visibleEvent(operation);
      if (stop !== null) return stop;
    }
    return operation && this.visibleAccess(operation);
  }

  /** As `visible`, for hooks, HLT, hypercalls and traps. */
  private visibleEvent(operation: Operation | undefined): Stop | undefined | null {
    if (operation?.event === "trap")
      return this.fault("trap", `${this.describe(operation)}${operation.bytes[0] === 0xcc ? "" : " (BUG or WARN)"}`);
    const step = this.environmentStep();
    if (step === undefined) return null;
    if (step.kind === "local") {
      this.performEnvironment(step, false);
      return undefined;
    }
    // A flag that nobody else has touched so far still is memory of the environment: announce it as shared.
    this.memory.requireShared(step.address);
    return { action: step.kind === "wait" ? WAIT : ATOMIC, operand: this.shared.accessId(step.address, step.size) };
  }

  private visibleAccess(operation: Operation): Stop | undefined {
    let fence = operation.fence === true;
    for (const access of operation.accesses) {
      if (access.kind === "store" || access.when?.(this.cpu) === false) continue;
      const address = access.address(this.cpu);
      if (this.memory.isShared(address, access.size, false)) {
        if (operation.unordered) throw this.unordered(operation);
        const action = access.kind === "locked" ? ATOMIC : LOAD;
        return { action, operand: this.shared.accessId(address, access.size) };
      }
      if (access.kind === "locked") fence = true;
    }
    if (fence && this.options.fences) return { action: FENCE, operand: -1 };
    this.execute(operation);
    if (operation.unordered && this.memory.captured >= 0) {
      this.cpu.rip = operation.address;
      throw this.unordered(operation);
    }
    return undefined;
  }

  private unordered(operation: Operation): UnsupportedError {
    return new UnsupportedError(this.describe(operation), "a REP string operation on memory that CPUs share");
  }

  private environmentStep(): EnvironmentStep | undefined {
    const { cpu, environment } = this;
    const hook = environment.hookAt(cpu.rip, this.index, cpu, this.memory);
    if (hook !== undefined) return hook;
    const operation = this.code.at(cpu.rip);
    if (operation.event === "halt") return environment.halt(this.index);
    if (operation.event === "read-msr") return environment.readMsr(this.index, cpu, this.describe(operation));
    if (operation.event === "hypercall") return environment.hypercall(cpu, this.memory, this.describe(operation));
    return undefined;
  }

  /** @returns false for a wait that goes on */
  private performEnvironment(step: EnvironmentStep, wake: boolean): boolean {
    const { cpu, memory } = this;
    const hooked = this.environment.isHooked(cpu.rip);
    const operation = hooked ? undefined : this.code.at(cpu.rip);
    const old = step.kind === "local" ? 0n : memory.load(step.address, step.size);
    if (step.kind === "wait") {
      const awake = (old & step.mask) !== 0n;
      if (!awake && !wake) return false;
      if (step.consume && awake) memory.store(step.address, step.size, old & ~step.mask);
    } else if (step.kind === "atomic" && step.change(old) !== old) {
      memory.store(step.address, step.size, step.change(old));
    }
    this.trace?.(cpu.rip, operation, `(${this.environment.describe(cpu.rip, step)})`);
    if (operation !== undefined) cpu.rip = operation.next;
    step.finish(cpu, memory, old);
    return true;
  }

  private criticalSection(): void {
    this.trace?.(COUNTER, undefined, "(critical section: reads the counter, stores it plus one)");
    this.cpu.general[RAX] = this.memory.load(COUNTER, 8);
    this.memory.store(COUNTER, 8, (this.cpu.general[RAX] + 1n) & MASK64);
    this.cpu.general[RAX] = poison(RAX);
    this.position = 1;
  }

  private execute(operation: Operation): void {
    this.trace?.(operation.address, operation, "");
    const before = this.cpu.rip;
    this.cpu.rip = operation.next;
    try {
      operation.run(this.cpu, this.memory);
    } catch (error) {
      this.cpu.rip = before;
      throw error;
    }
  }

  private describe(operation: Operation): string {
    return `${formatAddress(operation.address)}: ${disassemble(operation.bytes, operation.address)}`;
  }
}
