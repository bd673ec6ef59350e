// A boot in two halves: what may run before the kernel patches its calls through slots, and what runs after. The way from
// the first function to the patching is the border; on it, each function's own order of instructions decides.
import type { KernelOffset } from "../bytes/brand.ts";
import { EVENT } from "./events.ts";
import { type Order, orderAround } from "./flow.ts";
import type { PatchTable } from "./patch-sites.ts";
import type { Program } from "./program.ts";
import { functionsThatName } from "./slot-writes.ts";
import { type Arrival, Walk } from "./walk.ts";

/** How a kernel is entered: each entry is a boot of its own. */
export interface BootEntry {
  readonly name: string;
  /** index of the function */
  readonly function: number;
}

/** One function on the way to the patching, and the instruction in it that goes on. */
export interface BorderStep {
  readonly function: number;
  readonly at: KernelOffset;
  readonly arrival: Arrival | undefined;
  readonly order: Order;
}

export interface Boot {
  readonly entry: BootEntry;
  /** From the entry to the function that hands the table to the patching. */
  readonly border: readonly BorderStep[];
  readonly before: Walk;
  readonly after: Walk;
}

/** The C functions that assembly enters: bare metal and most guests; a paravirtual Xen guest. Else start_kernel(). */
const ENTRIES: readonly { name: string; symbols: readonly string[] }[] = [
  { name: "native", symbols: ["x86_64_start_kernel", "start_kernel"] },
  { name: "Xen PV", symbols: ["xen_start_kernel"] },
];

/** The ways in which this kernel can be entered. */
export function bootEntries({ image }: Program): BootEntry[] {
  return ENTRIES.flatMap(({ name, symbols }) => {
    const at = symbols.map((symbol) => image.find(symbol)).find((offset) => offset !== undefined);
    const index = at === undefined ? -1 : image.functionFrom(at);
    return index < 0 ? [] : [{ name, function: index }];
  });
}

/** Functions that take the address at which the table starts, each with that instruction: they have it applied. */
export function patchers({ image, events }: Program, table: PatchTable): Map<number, KernelOffset> {
  const out = new Map<number, KernelOffset>();
  for (const index of functionsThatName(image, table.start)) {
    const taken = events.of(index).find((event) => event.kind === EVENT.reference && event.a === table.start);
    if (taken !== undefined) out.set(index, taken.at);
  }
  return out;
}

/**
 * Walks both halves of the boot from one entry.
 * @param applied the functions that have the table applied, and where
 * @returns undefined when no way leads from the entry to the patching
 */
export function walkBoot(
  program: Program,
  entry: BootEntry,
  applied: ReadonlyMap<number, KernelOffset>,
): Boot | undefined {
  const search = new Walk(program, new Set());
  search.enterAt(entry.function);
  const found = search.run(applied);
  if (found === undefined) return undefined;
  const border: BorderStep[] = [];
  let at = applied.get(found) ?? 0;
  for (let index = found; ; ) {
    const arrival = search.reached.get(index);
    border.unshift({ function: index, at, arrival, order: orderAround(program.events, program.labels, index, at) });
    if (arrival === undefined || arrival.from < 0) break;
    index = arrival.from;
    at = arrival.at;
  }
  const closed = new Set(bootEntries(program).map((each) => each.function));
  for (const step of border) closed.add(step.function);
  const before = new Walk(program, closed);
  for (const step of border) before.start(step.function, step.order.before);
  before.run();
  const after = new Walk(program, closed, before);
  for (const step of border) after.start(step.function, step.order.after);
  after.run();
  return { entry, border, before, after };
}
