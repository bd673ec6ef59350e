// Follows a boot from its first functions: calls, jumps, calls through slots that hold a function by then, initcalls;
// and, a step less sure, whatever a function could call since it takes its address. The surest way to a function is
// found first, since ways with fewer such guesses are followed before others.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import { constantCopy } from "./copies.ts";
import { type CodeEvent, EVENT } from "./events.ts";
import type { Program } from "./program.ts";
import { storeOf } from "./slot-writes.ts";
import { WordSet } from "./word-set.ts";

/** How control, or the address of a function, comes from one function to another. */
export type StepKind =
  | "call"
  | "jump"
  /** through a pointer at a fixed address that holds the function */
  | "slot"
  | "initcall"
  /** the first function of a thread that is made */
  | "thread"
  /** the address is taken: passed to another function, or stored where nothing was seen to call it */
  | "address"
  /** the address lies in a structure that the function refers to */
  | "structure";

export interface Arrival {
  /** index of the function it came from; -1 for a start of the walk */
  readonly from: number;
  /** the instruction there */
  readonly at: KernelOffset;
  readonly kind: StepKind;
  /** the slot, or the structure */
  readonly through?: KernelOffset;
  /** Function that put this one into the slot; undefined for its initial value. */
  readonly setBy?: number;
  /** steps up to here that are no calls seen in the code */
  readonly guesses: number;
}

const RDI = 7;

/** Ways with more guesses than this are told apart no longer. */
const GUESSES_MAX = 40;
/** Bytes of a structure that are searched for pointers. */
const STRUCTURE_MAX = 1 << 14;
/** What is taken for a structure's size where no symbol tells. */
const UNNAMED_SIZE = 256;

interface Setter {
  readonly setBy: number;
  readonly guesses: number;
}

type Task =
  | { readonly kind: "function"; readonly target: number; readonly arrival: Arrival }
  | { readonly kind: "structure"; readonly target: KernelOffset; readonly from: number; readonly at: KernelOffset };

export class Walk {
  /** Functions that were come to, with the surest way. */
  readonly reached = new Map<number, Arrival>();
  private unknownCalls = 0;
  /** Places to which something is stored that the code does not tell. */
  private readonly unknownStores = new Set<KernelOffset>();
  private readonly tasks: Task[][] = Array.from({ length: GUESSES_MAX + 1 }, () => []);
  private guesses = 0;
  /** What slots hold beyond their initial value: slot → function → who stored it, and how sure it is that it ran. */
  private readonly values: Map<KernelOffset, Map<number, Setter>>;
  private readonly entryStart: KernelOffset;
  private readonly entryEnd: KernelOffset;
  private readonly calls = new Map<KernelOffset, { from: number; at: KernelOffset; kind: "slot" | "address" }[]>();
  private readonly structures = new Set<KernelOffset>();
  private readonly searched: WordSet;

  /**
   * @param closed functions that are not entered: those on the way to the middle of the boot, whose halves are started
   *   with `start`
   * @param earlier the walk of what ran before: what it stored in slots is there
   */
  constructor(
    private readonly program: Program,
    private readonly closed: ReadonlySet<number>,
    earlier?: Walk,
  ) {
    this.values = new Map([...(earlier?.values ?? [])].map(([slot, held]) => [slot, new Map(held)]));
    this.searched = new WordSet(program.image);
    this.entryStart = program.image.find("__entry_text_start") ?? 0;
    this.entryEnd = program.image.find("__entry_text_end") ?? 0;
  }

  /** Indirect calls whose target is not known, and slots that are called through and may hold more than is known. */
  get notFollowed(): number {
    let slots = 0;
    for (const [slot, calls] of this.calls) {
      if (this.unknownStores.has(slot) && calls.some(({ kind }) => kind === "slot")) slots++;
    }
    return this.unknownCalls + slots;
  }

  /** Takes those events of a function for which `runs` holds as a start. */
  start(index: number, runs: (at: KernelOffset) => boolean = () => true): void {
    this.guesses = 0;
    this.process(index, runs);
  }

  /** Takes a function as the very start. */
  enterAt(index: number): void {
    this.guesses = 0;
    this.enter(index, { from: -1, at: 0, kind: "call" }, 0);
  }

  /**
   * Follows everything that was started.
   * @param until stop at the first of these; @returns the one that was come to
   */
  run(until?: { has(index: number): boolean }): number | undefined {
    for (let level = 0; level <= GUESSES_MAX; level++) {
      this.guesses = level;
      const open = this.tasks[level];
      // The list grows while it is worked on; first in, first out gives the shortest way.
      for (let i = 0; i < open.length; i++) {
        const task = open[i];
        if (task.kind === "structure") this.searchStructure(task.target, task.from, task.at);
        else if (!this.reached.has(task.target)) {
          this.reached.set(task.target, task.arrival);
          if (until?.has(task.target)) return task.target;
          this.process(task.target, () => true);
        }
      }
      open.length = 0;
    }
    return undefined;
  }

  /** @param least guesses that something else takes on which the way depends */
  private enter(target: number, arrival: Omit<Arrival, "guesses">, guess: 0 | 1, least = 0): void {
    if (target < 0 || this.closed.has(target) || this.reached.has(target)) return;
    const guesses = Math.min(GUESSES_MAX, Math.max(this.guesses, least) + guess);
    this.tasks[guesses].push({ kind: "function", target, arrival: { ...arrival, guesses } });
  }

  private process(index: number, runs: (at: KernelOffset) => boolean): void {
    for (const event of this.program.events.of(index)) if (runs(event.at)) this.event(index, event);
  }

  private event(from: number, event: CodeEvent): void {
    const { image, tracker } = this.program;
    const { at, a } = event;
    switch (event.kind) {
      case EVENT.call:
        this.copy(from, event);
        this.thread(from, event);
        this.enter(image.functionAt(a), { from, at, kind: "call" }, 0);
        return;
      case EVENT.jump:
      case EVENT.fall:
        this.copy(from, event);
        // Into the middle of a function comes back what left it: cold parts, and the fixups of faulting accesses.
        this.enter(image.functionFrom(a), { from, at, kind: "jump" }, 0);
        return;
      case EVENT.callSlot:
        this.callThrough(a, from, at, "slot");
        return;
      case EVENT.callRegister: {
        const value = tracker.before(at, event.register);
        if (value?.kind === "slot") this.callThrough(value.offset, from, at, "slot");
        else if (value?.kind === "address") this.enter(image.functionFrom(value.offset), { from, at, kind: "call" }, 0);
        else this.unknownCalls++;
        return;
      }
      case EVENT.callMemory:
        if (a < 0) this.unknownCalls++;
        else this.refer(a, from, at);
        return;
      case EVENT.storeConstant:
      case EVENT.storeRegister: {
        const store = storeOf(event, tracker, image);
        if (store !== undefined) this.store(store.address, store.value, from, at);
        return;
      }
      case EVENT.load:
        this.callThrough(a, from, at, "address");
        return;
      case EVENT.copy:
        this.copy(from, event);
        return;
      case EVENT.reference:
        this.refer(a, from, at);
        return;
      default:
    }
  }

  /** kernel_thread(f, …) and its kind: f runs, in a thread of its own. */
  private thread(from: number, { at, a }: CodeEvent): void {
    const { image, tracker, threadMakers } = this.program;
    if (!threadMakers.has(a)) return;
    const value = tracker.before(at, RDI);
    if (value?.kind === "address") this.enter(image.functionFrom(value.offset), { from, at, kind: "thread" }, 0);
  }

  private copy(from: number, event: CodeEvent): void {
    const { image, tracker } = this.program;
    const copy = constantCopy(event, tracker, image);
    if (copy === undefined || copy.from < 0) return;
    for (let offset = 0; offset + 8 <= copy.length; offset += 8) {
      const value = image.pointer(copy.from + offset);
      if (image.functionFrom(value) >= 0) this.store(copy.to + offset, value, from, event.at);
    }
  }

  /** The slot's pointer is called ("slot") or loaded for something ("address"), now and for every value it gets later. */
  private callThrough(slot: KernelOffset, from: number, at: KernelOffset, kind: "slot" | "address"): void {
    const { image } = this.program;
    const calls = this.calls.get(slot);
    if (calls === undefined) this.calls.set(slot, [{ from, at, kind }]);
    else if (calls.some((call) => call.kind === "slot" || call.kind === kind))
      return; // the first call is the surest
    else calls.push({ from, at, kind });
    const guess = kind === "slot" ? 0 : 1;
    const initial = image.pointer(slot);
    if (initial >= 0) {
      if (image.functionFrom(initial) >= 0) {
        this.enter(image.functionFrom(initial), { from, at, kind, through: slot }, guess);
      } else this.refer(initial, from, at);
    }
    for (const [target, { setBy, guesses }] of this.values.get(slot) ?? []) {
      this.enter(target, { from, at, kind, through: slot, setBy }, guess, guesses);
    }
  }

  private store(slot: KernelOffset, value: KernelOffset | undefined, setBy: number, at: KernelOffset): void {
    const { image } = this.program;
    const target = value === undefined ? -1 : image.functionFrom(value);
    if (target < 0) {
      if (value !== undefined) this.refer(value, setBy, at);
      else this.unknownStores.add(slot);
      return;
    }
    const held = this.values.get(slot) ?? new Map<number, Setter>();
    this.values.set(slot, held);
    if (held.has(target)) return;
    held.set(target, { setBy, guesses: this.guesses });
    for (const { from, at, kind } of this.calls.get(slot) ?? []) {
      this.enter(target, { from, at, kind, through: slot, setBy }, kind === "slot" ? 0 : 1);
    }
    if (this.searched.has(slot)) this.enter(target, { from: setBy, at, kind: "structure", through: slot, setBy }, 1);
  }

  /** A kernel address is taken: a function may be called, a structure's functions may be. */
  private refer(target: KernelOffset, from: number, at: KernelOffset): void {
    const { image, tables } = this.program;
    const section = image.section(target);
    if (section === undefined) return;
    if (section.isCode) {
      if (!this.isEntry(target)) this.enter(image.functionFrom(target), { from, at, kind: "address" }, 1);
      return;
    }
    const table = tables.at(target);
    if (table?.isInitcalls) {
      for (const each of tables.functions(table)) {
        this.enter(image.functionFrom(each), { from, at, kind: "initcall", through: target }, 0);
      }
      return;
    }
    if (this.structures.has(target) || image.isInert(target)) return;
    this.structures.add(target);
    this.tasks[Math.min(GUESSES_MAX, this.guesses + 1)].push({ kind: "structure", target, from, at });
  }

  private searchStructure(target: KernelOffset, from: number, at: KernelOffset): void {
    const { image, tables } = this.program;
    const { start, end } = tables.at(target) ?? this.extent(target);
    for (let word = (start + 7) & ~7; word + 8 <= end; word += 8) {
      if (!this.searched.add(word)) break; // from here on it was searched, for another place in the structure
      for (const [held, { setBy, guesses }] of this.values.get(word) ?? []) {
        this.enter(held, { from, at, kind: "structure", through: target, setBy }, 0, guesses);
      }
      const pointer = image.pointer(word);
      if (pointer < 0) continue;
      const index = image.functionFrom(pointer);
      if (this.isEntry(pointer)) continue;
      if (index >= 0) this.enter(index, { from, at, kind: "structure", through: target }, 0);
      else if (image.functionAt(pointer) < 0) this.refer(pointer, from, at);
    }
  }

  /** Code that the processor enters by itself: interrupts, and system calls, of which a boot has none yet. */
  private isEntry(target: KernelOffset): boolean {
    return target >= this.entryStart && target < this.entryEnd;
  }

  /** From the start of the variable, as its symbols tell, to the next one. In read-only data, where strings have no symbols, from the place itself. */
  private extent(target: KernelOffset): { start: KernelOffset; end: KernelOffset } {
    const { image } = this.program;
    const section = image.section(target);
    if (section === undefined) return { start: target, end: target };
    const near = image.symbols.nearest(fromKernelOffset(target));
    const at = near && toKernelOffset(near.symbol.address);
    const begin = at !== undefined && at >= section.start ? at : undefined;
    const isWhole = begin !== undefined && section.writable && target - begin <= STRUCTURE_MAX;
    const start = isWhole ? begin : target;
    const end = begin === undefined || near?.size === undefined ? start + UNNAMED_SIZE : begin + near.size;
    return { start, end: Math.min(end, start + STRUCTURE_MAX, section.end, image.inertAfter(start)) };
  }
}
