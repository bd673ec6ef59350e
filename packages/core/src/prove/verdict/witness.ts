// A schedule told instruction by instruction: what each CPU executed, what the lock word held, what waited in a store
// buffer, and how every CPU stands at the end.
import { formatAddress, virtualAddress } from "../../bytes/brand.ts";
import { disassemble } from "../machine/decode.ts";
import { DONE, FAULT, FENCE, STUCK, WAIT } from "../machine/local-state.ts";
import { modelName } from "../machine/model-addresses.ts";
import type { Operation } from "../machine/operation.ts";
import { DRAIN, GIVE_UP, MOVES, type Model, maxSuccessors, RUN, WAKE } from "../search/model.ts";
import type { CpuEnd, LockWord, System, WitnessStep } from "../types.ts";

const MOVE_LETTERS: Readonly<Record<number, string>> = { [RUN]: "", [DRAIN]: "d", [WAKE]: "w", [GIVE_UP]: "a" };
/** A spinning loop longer than this is shown cut. */
const MAX_CYCLE = 64;

/** "0", "1d", "0w": a label as the schedule of a witness writes it. */
export function moveName(label: number): string {
  return `${Math.floor(label / MOVES)}${MOVE_LETTERS[label % MOVES]}`;
}

function nameOf(system: System, address: bigint): string | undefined {
  return modelName(address) ?? system.symbol?.(virtualAddress(address));
}

export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");
}

/** Bytes of the lock word in a state; undefined without a lock word. */
export function lockBytes(model: Model, content: number): Uint8Array | undefined {
  const lock: LockWord | undefined = model.system.lock;
  return lock === undefined ? undefined : model.bytesAt(content, lock.address, lock.length);
}

/** Writes down the steps of a run while it is performed again. */
export class Narrator {
  readonly steps: WitnessStep[] = [];

  constructor(private readonly model: Model) {}

  /** The instructions before the first move, of every CPU. */
  begin(row: Int32Array): void {
    for (let cpu = 0; cpu < this.model.cpus; cpu++) {
      const told = this.teller(cpu, row[this.model.width - 1], row[this.model.width - 1], 0);
      this.model.retraceStart(cpu, told.trace, told.stored);
    }
  }

  /** One move from `row` to `after`. */
  move(row: Int32Array, label: number, after: Int32Array): void {
    const { model } = this;
    const cpu = Math.floor(label / MOVES);
    const content = row[model.width - 1];
    const next = after[model.width - 1];
    const buffer = row[model.cpus + cpu];
    if (label % MOVES === DRAIN) {
      const store = model.memory.oldest(buffer);
      const { address } = model.memory.store(store);
      this.add(cpu, "drain", address, `(store leaves the buffer: ${model.memory.describeStore(store)})`, content, next);
      this.noteBuffer(model.memory.rest(buffer));
    }
    const drained = label % MOVES === DRAIN;
    const told = this.teller(cpu, drained ? next : content, next, drained ? model.memory.rest(buffer) : buffer);
    model.retrace(row, label, told.trace, told.stored);
  }

  /** The first instruction is the one that touches memory: it sees `before` and leaves `after`. */
  private teller(cpu: number, before: number, after: number, buffer: number) {
    let content = before;
    let current = buffer;
    return {
      trace: (address: bigint, operation: Operation | undefined, text: string): void => {
        const shown =
          operation === undefined ? text : `${disassemble(operation.bytes, address)}${text === "" ? "" : ` ${text}`}`;
        this.add(cpu, operation === undefined ? "model" : "instruction", address, shown, content, after);
        this.noteBuffer(current);
        content = after;
      },
      stored: (now: number): void => {
        current = now;
        this.noteBuffer(now);
      },
    };
  }

  private add(
    cpu: number,
    kind: WitnessStep["kind"],
    address: bigint,
    instruction: string,
    before: number,
    after: number,
  ): void {
    const bytes = lockBytes(this.model, after);
    const was = lockBytes(this.model, before);
    const describe = this.model.system.lock?.describe;
    this.steps.push({
      cpu,
      kind,
      address: formatAddress(address),
      symbol: nameOf(this.model.system, address),
      instruction,
      lockBefore: was && hexBytes(was),
      lockAfter: bytes && hexBytes(bytes),
      lock: bytes && describe?.(bytes),
    });
  }

  private noteBuffer(buffer: number): void {
    const last = this.steps.length - 1;
    if (last < 0) return;
    const { storeBuffer: _, ...step } = this.steps[last];
    this.steps[last] = buffer === 0 ? step : { ...step, storeBuffer: this.model.memory.describeBuffer(buffer) };
  }
}

/** How each CPU stands in the last state of a witness. */
export function describeEnd(model: Model, row: Int32Array): CpuEnd[] {
  return Array.from({ length: model.cpus }, (_, cpu) => {
    const local = row[cpu];
    const { rip, phase } = model.local(local);
    const phases = model.system.programs[cpu].phases.length;
    const action = model.actionOf(local);
    const base = { cpu, address: formatAddress(rip), symbol: nameOf(model.system, rip) };
    if (action === DONE) return { ...base, state: "finished" };
    return { ...base, round: Math.floor(phase / phases) + 1, phase: phase % phases, ...standing(model, row, cpu) };
  });
}

/** What an unfinished CPU is doing. */
function standing(model: Model, row: Int32Array, cpu: number): Pick<CpuEnd, "state" | "cycle"> {
  const local = row[cpu];
  const action = model.actionOf(local);
  if (model.holds(local)) return { state: "in critical section" };
  if (action === FAULT) return { state: model.faultOf(local)?.kind === "trap" ? "trapped" : "unsupported" };
  if (action === STUCK) return { state: "spins" };
  const moves = ownMoves(model, row, cpu);
  if (action === WAIT && moves === undefined) return { state: "sleeps" };
  const cycle = moves === undefined ? undefined : spinCycle(model, row, cpu);
  return { state: cycle === undefined ? "running" : "spins", cycle };
}

/** "model CPU 0 spins for ever at …+0x14 in round 2; model CPU 1 sleeps at …, and nobody will wake it": no CPUs of the dump. */
export function describeHang(end: readonly CpuEnd[]): string {
  const stuck = end.filter((cpu) => cpu.state !== "finished");
  const parts = stuck.map(({ cpu, state, symbol, address, round }) => {
    const place = `at ${symbol ?? address} in round ${round}`;
    if (state === "sleeps") return `model CPU ${cpu} sleeps ${place}, and nobody will wake it`;
    if (state === "spins") return `model CPU ${cpu} spins for ever ${place}`;
    return `model CPU ${cpu} never comes on from ${place.slice(3)}`;
  });
  return parts.join("; ");
}

/** The state after this CPU alone goes on; undefined when it cannot. Drains first: they need nobody. */
function ownMoves(model: Model, row: Int32Array, cpu: number): { row: Int32Array; label: number } | undefined {
  const out = new Int32Array(maxSuccessors(model.cpus) * model.width);
  const count = model.successors(row, out);
  for (let i = 0; i < count; i++) {
    const label = model.labels[i];
    if (Math.floor(label / MOVES) !== cpu || label % MOVES >= WAKE) continue;
    return { row: out.slice(i * model.width, (i + 1) * model.width), label };
  }
  return undefined;
}

/** The instructions that a CPU repeats when it runs alone; undefined when it comes to something new instead. */
function spinCycle(model: Model, row: Int32Array, cpu: number): CpuEnd["cycle"] {
  const seen = new Map<string, number>();
  const told: { address: string; symbol?: string; instruction: string }[] = [];
  let at = row;
  for (let i = 0; i < MAX_CYCLE * 4; i++) {
    const key = at.join();
    const before = seen.get(key);
    if (before !== undefined) return told.slice(before, before + MAX_CYCLE);
    seen.set(key, told.length);
    const move = ownMoves(model, at, cpu);
    if (move === undefined || model.actionOf(at[cpu]) === FENCE) return undefined;
    model.retrace(
      at,
      move.label,
      (address, operation, text) =>
        told.push({
          address: formatAddress(address),
          symbol: nameOf(model.system, address),
          instruction: operation === undefined ? text : disassemble(operation.bytes, address),
        }),
      () => {},
    );
    at = move.row;
  }
  return undefined;
}
