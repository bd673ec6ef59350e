// Which registers and flags the code ahead of a CPU can still read. A local state forgets the others: two CPUs that
// differ only in what a spin loop read last time are the same state. Calls are followed into the callee and returns to
// the return address that lies on the CPU's stack; where the code ahead is not plainly known, everything is live.
import * as iced from "iced-x86";
import { virtualAddress } from "../../bytes/brand.ts";
import type { CodeMemory } from "../types.ts";
import { ALL, equal, type Live, type LiveNode, liveNode, minus, NONE, UNKNOWN_NODE, union } from "./live-code.ts";

export type { Live } from "./live-code.ts";

/** Places in one look ahead, the nearest first; behind those farther away everything is live. */
const MAX_PLACES = 800;
const MAX_CALL_DEPTH = 3;
const LONGEST_INSTRUCTION = 15;

/** What a look ahead may ask of the CPU. */
export interface StackView {
  /** RBP - RSP, when RBP points into the CPU's stack. */
  readonly frame: number | undefined;
  /** `address` - RSP, when the address lies in the CPU's stack. */
  offsetOf(address: bigint): number | undefined;
  /** The 8 bytes at RSP + offset; undefined outside of the CPU's own stack. */
  slot(offset: number): bigint | undefined;
}

/** What the model does at an address instead of running code there. */
export interface LiveEnd {
  /** What it reads of the registers; undefined for ordinary code. */
  endAt(address: bigint): Live | undefined;
}

interface Answer {
  readonly frame: number | undefined;
  readonly slots: readonly (readonly [number, bigint | undefined])[];
  readonly live: Live;
}

/** An instruction with RSP and RBP as offsets from where RSP stood at the start of the look ahead. */
interface Place {
  readonly address: bigint;
  readonly stack: number;
  readonly frame: number | undefined;
  readonly depth: number;
  readonly node: LiveNode;
  /** indices of the places that can follow; undefined: everything is live behind this one */
  next: number[] | undefined;
  live: Live;
}

export class Liveness {
  private readonly answers = new Map<bigint, Answer[]>();
  private readonly nodes = new Map<bigint, LiveNode>();
  private readonly factory = new iced.InstructionInfoFactory();

  constructor(
    private readonly memory: CodeMemory,
    private readonly ends: LiveEnd,
  ) {}

  /** What is live before the instruction at `address` runs. */
  at(address: bigint, view: StackView): Live {
    let known = this.answers.get(address);
    if (known === undefined) {
      known = [];
      this.answers.set(address, known);
    }
    for (const answer of known) {
      if (answer.frame !== view.frame) continue;
      if (answer.slots.every(([offset, value]) => view.slot(offset) === value)) return answer.live;
    }
    const asked = new Map<number, bigint | undefined>();
    const recording: StackView = {
      frame: view.frame,
      offsetOf: (target) => view.offsetOf(target),
      slot: (offset) => {
        const value = view.slot(offset);
        asked.set(offset, value);
        return value;
      },
    };
    const live = new LookAhead(this, recording).solve(address);
    known.push({ frame: view.frame, slots: [...asked], live });
    return live;
  }

  endAt(address: bigint): Live | undefined {
    return this.ends.endAt(address);
  }

  node(address: bigint): LiveNode {
    let node = this.nodes.get(address);
    if (node === undefined) {
      node = this.decode(address);
      this.nodes.set(address, node);
    }
    return node;
  }

  private decode(address: bigint): LiveNode {
    let bytes: Uint8Array;
    try {
      bytes = this.memory.read(virtualAddress(address), LONGEST_INSTRUCTION);
    } catch {
      return UNKNOWN_NODE;
    }
    const decoder = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
    decoder.ip = address;
    const instruction = decoder.decode();
    try {
      return instruction.isInvalid ? UNKNOWN_NODE : liveNode(instruction, this.factory);
    } finally {
      instruction.free();
      decoder.free();
    }
  }
}

/** One backward data flow over all places that can follow a start. */
class LookAhead {
  private readonly places: Place[] = [];
  private readonly index = new Map<string, number>();
  /** Return addresses that followed calls put on the stack, by offset, with RBP and depth of the caller. */
  private readonly returns = new Map<number, { address: bigint; frame: number | undefined; depth: number }[]>();
  /** Places that return through an offset: they gain a successor when another call uses that offset. */
  private readonly returners = new Map<number, Place[]>();
  /** Offsets that some instruction stores to: a return through one goes where nobody here knows. */
  private readonly stored = new Set<number>();
  private readonly returning: Place[] = [];
  /** Offsets that some push of the code ahead writes. */
  private readonly pushed = new Set<number>();

  constructor(
    private readonly liveness: Liveness,
    private readonly view: StackView,
  ) {}

  solve(start: bigint): Live {
    this.place(start, 0, this.view.frame, 0);
    // Breadth first: `places` grows while it is walked.
    for (let i = 0; i < this.places.length; i++) {
      if (this.places.length > MAX_PLACES) this.places[i].next = undefined;
      else this.follow(this.places[i]);
    }
    for (const place of this.returning) if (this.stored.has(place.stack)) place.next = undefined;
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = this.places.length - 1; i >= 0; i--) {
        const place = this.places[i];
        const after =
          place.next === undefined ? ALL : place.next.reduce((sum, n) => union(sum, this.places[n].live), NONE);
        const before = union(place.node.use, minus(after, place.node.kill));
        if (equal(before, place.live)) continue;
        place.live = before;
        changed = true;
      }
    }
    return this.places[0].live;
  }

  private place(address: bigint, stack: number, frame: number | undefined, depth: number): number {
    const key = `${address}:${stack}:${frame}:${depth}`;
    let index = this.index.get(key);
    if (index === undefined) {
      const end = this.liveness.endAt(address);
      const node =
        end === undefined ? this.liveness.node(address) : { ...UNKNOWN_NODE, use: end, flow: "stop" as const };
      const place: Place = { address, stack, frame, depth, node, next: [], live: NONE };
      index = this.places.push(place) - 1;
      this.index.set(key, index);
    }
    return index;
  }

  private follow(at: Place): void {
    const { node } = at;
    if (typeof node.stack === "number" && node.stack < 0) this.pushed.add(at.stack + node.stack);
    if (node.storesAt !== undefined) this.stored.add(at.stack + node.storesAt);
    switch (node.flow) {
      case "stop":
        return;
      case "unknown":
        at.next = undefined;
        return;
      case "call":
        this.followCall(at);
        return;
      case "return":
        this.followReturn(at);
        return;
      case "next": {
        const frame = this.frameAfter(at);
        const stack =
          node.stack === "leave" ? (at.frame === undefined ? "unknown" : at.frame + 8) : addTo(at.stack, node.stack);
        // With RSP lost, returns cannot be told any more.
        at.next =
          stack === "unknown" ? undefined : node.targets.map((target) => this.place(target, stack, frame, at.depth));
        return;
      }
    }
  }

  private frameAfter(at: Place): number | undefined {
    switch (at.node.frame) {
      case "same":
        return at.frame;
      case "from-stack-pointer":
        return at.stack;
      case "popped": {
        const offset = at.node.stack === "leave" ? at.frame : at.stack;
        // Only what was there before the look ahead is known.
        const known = offset !== undefined && at.depth === 0 && !this.pushed.has(offset);
        const saved = known ? this.view.slot(offset) : undefined;
        // A saved RBP that points elsewhere is no frame of this stack; its value then does not matter.
        return saved === undefined ? undefined : this.view.offsetOf(saved);
      }
      case "unknown":
        return undefined;
    }
  }

  private followCall(at: Place): void {
    if (at.depth >= MAX_CALL_DEPTH) {
      at.next = undefined;
      return;
    }
    const slot = at.stack - 8;
    const back = { address: at.node.next, frame: at.frame, depth: at.depth };
    const known = this.returns.get(slot) ?? [];
    if (!known.some((other) => other.address === back.address && other.frame === back.frame)) {
      this.returns.set(slot, [...known, back]);
      for (const returner of this.returners.get(slot) ?? [])
        if (returner.depth === back.depth + 1)
          returner.next?.push(this.place(back.address, slot + 8, back.frame, back.depth));
    }
    at.next = [this.place(at.node.targets[0], slot, at.frame, at.depth + 1)];
  }

  private followReturn(at: Place): void {
    const slot = at.stack;
    this.returning.push(at);
    // In a followed callee the return address is the followed call's; what lies on the stack there now is older.
    if (at.depth > 0) {
      const backs = (this.returns.get(slot) ?? []).filter((back) => back.depth === at.depth - 1);
      this.returners.set(slot, [...(this.returners.get(slot) ?? []), at]);
      at.next = backs.map((back) => this.place(back.address, slot + 8, back.frame, back.depth));
      if (backs.length === 0) at.next = undefined;
      return;
    }
    const address = slot < 0 ? undefined : this.view.slot(slot);
    at.next = address === undefined ? undefined : [this.place(address, slot + 8, at.frame, at.depth)];
  }
}

function addTo(stack: number, effect: LiveNode["stack"]): number | "unknown" {
  return typeof effect === "number" ? stack + effect : "unknown";
}
