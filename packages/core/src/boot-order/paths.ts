// Ways through the boot as plain data: the functions one behind the other, each with how it was come to.
import { formatAddress, fromKernelOffset, type KernelOffset } from "../bytes/brand.ts";
import type { BootStep } from "../results/boot-order-results.ts";
import type { Boot } from "./boot.ts";
import type { Program } from "./program.ts";
import type { SlotNames } from "./slot-names.ts";
import type { Arrival, Walk } from "./walk.ts";

const hex = (offset: KernelOffset): string => formatAddress(fromKernelOffset(offset));

export class Paths {
  constructor(
    private readonly program: Program,
    private readonly names: SlotNames,
    private readonly boot: Boot,
  ) {}

  /** From the entry to the patching. */
  border(): BootStep[] {
    return this.boot.border.map((step) => this.step(step.function, step.arrival));
  }

  /** From the entry to a function, in one half of the boot; undefined when it is not come to there. */
  to(index: number, half: "before" | "after"): BootStep[] | undefined {
    const { border } = this.boot;
    const onBorder = border.findIndex((step) => step.function === index);
    if (onBorder >= 0) return this.border().slice(0, onBorder + 1);
    const steps: BootStep[] = [];
    let at = index;
    for (const [each, arrival] of this.chain(this.boot[half], index)) {
      steps.unshift(this.step(each, arrival));
      at = arrival.from;
    }
    if (steps.length === 0) return undefined;
    const from = border.findIndex((step) => step.function === at);
    return [...this.border().slice(0, from + 1), ...steps];
  }

  /** For each slot on the way to a function: who set it, and how that function was come to. */
  setters(index: number): { slot: string; function: string; path: BootStep[] }[] {
    const { image } = this.program;
    const out: { slot: string; function: string; path: BootStep[] }[] = [];
    for (const [, { setBy, through }] of this.chain(this.boot.after, index)) {
      if (setBy === undefined || through === undefined) continue;
      const path = this.to(setBy, "before") ?? this.to(setBy, "after") ?? [];
      out.unshift({ slot: this.names.of(through), function: image.functionName(setBy), path });
    }
    return out;
  }

  /** Arrivals from a function back to where the walk started. */
  private *chain(walk: Walk, index: number): Iterable<readonly [number, Arrival]> {
    for (let at = index; ; ) {
      const arrival = walk.reached.get(at);
      if (arrival === undefined) return;
      yield [at, arrival];
      at = arrival.from;
    }
  }

  private step(index: number, arrival: Arrival | undefined): BootStep {
    const { image } = this.program;
    const isStart = arrival === undefined || arrival.from < 0;
    return {
      function: image.functionName(index),
      address: hex(image.functions[index]),
      how: isStart ? "start" : arrival.kind,
      at: isStart ? null : hex(arrival.at),
      through: arrival?.through === undefined ? null : this.names.of(arrival.through),
      setBy: arrival?.setBy === undefined ? null : image.functionName(arrival.setBy),
    };
  }
}
