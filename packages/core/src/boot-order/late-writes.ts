// The question of the room: is a slot written after its sites were patched? A write is late when the boot comes to it
// behind the patching, and before it not at all, or only by a less sure way.
import { fromKernelOffset, type KernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import type { KernelImage } from "../image/types.ts";
import type { BootMoment, BootStep } from "../results/boot-order-results.ts";
import { type Boot, bootEntries, patchers, walkBoot } from "./boot.ts";
import { testsBefore } from "./guards.ts";
import { type PatchTable, patchTables } from "./patch-sites.ts";
import { Paths } from "./paths.ts";
import { type Program, withProgram } from "./program.ts";
import { SlotNames } from "./slot-names.ts";
import { type SlotWrite, type SlotWrites, slotWrites } from "./slot-writes.ts";

export interface LateSlotWrite {
  /** link address, as long as the image is not relocated */
  readonly slot: VirtualAddress;
  /** "pv_lock_ops.spin_unlock" */
  readonly slotName: string;
  /** sites that the boot patches with what the slot holds then */
  readonly sites: number;
  /** how the kernel was entered: "native", "Xen PV" */
  readonly entry: string;
  readonly writer: string;
  /** the instruction that writes */
  readonly at: VirtualAddress;
  /** the function that it stores; undefined when the code does not tell */
  readonly value: string | undefined;
  /** a function that stores the same before the patching, so that nothing changes */
  readonly sameBefore: string | undefined;
  /** from the first function of the boot to the writer */
  readonly path: readonly BootStep[];
  /** … and to the function that has the sites patched */
  readonly patchPath: readonly BootStep[];
  /** a less sure way to the writer before the patching, when there is one */
  readonly perhapsBefore: readonly BootStep[] | undefined;
  readonly setters: readonly { readonly slot: string; readonly function: string; readonly path: readonly BootStep[] }[];
  readonly tests: readonly { readonly function: string; readonly variable: string }[];
}

export interface WriteMoment {
  readonly moment: BootMoment;
  readonly isLate: boolean;
}

/** One table of patch sites with all that is known of it. */
export interface TableOrder {
  readonly table: PatchTable;
  readonly written: SlotWrites;
  readonly boots: readonly { readonly entry: { name: string; function: number }; readonly boot: Boot | undefined }[];
  readonly late: readonly LateSlotWrite[];
}

/** Whether a write happens in each half of a boot. */
export function momentOf(boot: Boot, write: SlotWrite): WriteMoment {
  const border = boot.border.find((step) => step.function === write.writer);
  if (border !== undefined) {
    const [before, after] = [border.order.before(write.at), border.order.after(write.at)];
    return { moment: momentName(before, after), isLate: after && !before };
  }
  const before = boot.before.reached.get(write.writer);
  const after = boot.after.reached.get(write.writer);
  const isLate = after !== undefined && (before === undefined || before.guesses > after.guesses);
  return { moment: momentName(before !== undefined, after !== undefined), isLate };
}

function momentName(before: boolean, after: boolean): BootMoment {
  if (before) return after ? "before and after" : "before";
  return after ? "after" : "not reached";
}

/** All tables of an image with their writers and late writes. */
export function tableOrders(program: Program): TableOrder[] {
  const names = new SlotNames(program.image);
  return patchTables(program.image).map((table) => {
    const written = slotWrites(program.events, program.tracker, [...table.sites.keys()]);
    const applied = patchers(program, table);
    const boots = bootEntries(program).map((entry) => ({ entry, boot: walkBoot(program, entry, applied) }));
    const late = boots.flatMap(({ boot }) => (boot === undefined ? [] : lateIn(program, boot, table, written, names)));
    return { table, written, boots, late };
  });
}

function lateIn(
  program: Program,
  boot: Boot,
  table: PatchTable,
  { writes }: SlotWrites,
  names: SlotNames,
): LateSlotWrite[] {
  const { image } = program;
  const paths = new Paths(program, names, boot);
  const early = writes.filter((write) => {
    const { moment, isLate } = momentOf(boot, write);
    return (moment === "before" || moment === "before and after") && !isLate;
  });
  return writes.flatMap((write): LateSlotWrite[] => {
    if (!momentOf(boot, write).isLate) return [];
    const path = paths.to(write.writer, "after") ?? [];
    const setters = paths.setters(write.writer);
    // Another hypervisor's code may well store the same; only who made the late write possible has surely run.
    const ran = new Set([...path, ...setters.flatMap((setter) => setter.path)].map((step) => step.function));
    const same = early.find(
      (other) => other.slot === write.slot && other.value === write.value && ran.has(image.functionName(other.writer)),
    );
    return [
      {
        slot: fromKernelOffset(write.slot),
        slotName: names.of(write.slot),
        sites: table.sites.get(write.slot) ?? 0,
        entry: boot.entry.name,
        writer: image.functionName(write.writer),
        at: fromKernelOffset(write.at),
        value: write.value === undefined ? undefined : image.name(write.value),
        sameBefore: write.value === undefined || same === undefined ? undefined : image.functionName(same.writer),
        path,
        patchPath: paths.border(),
        perhapsBefore: boot.before.reached.has(write.writer) ? paths.to(write.writer, "before") : undefined,
        setters,
        tests: testsOn(program, boot, write),
      },
    ];
  });
}

/** Variables that are tested on the way to a write, by the functions behind the border and the writer itself. */
function testsOn(program: Program, boot: Boot, write: SlotWrite): LateSlotWrite["tests"] {
  const { image } = program;
  const out: { function: string; variable: string }[] = [];
  let at: KernelOffset = write.at;
  for (let index = write.writer; ; ) {
    for (const variable of testsBefore(program, index, at)) {
      out.unshift({ function: image.functionName(index), variable: image.name(variable) });
    }
    const arrival = boot.after.reached.get(index);
    if (arrival === undefined) break;
    // Functions of the border are passed in any case.
    if (boot.border.some((step) => step.function === arrival.from)) break;
    index = arrival.from;
    at = arrival.at;
  }
  return out;
}

/**
 * Slots that a boot of this image writes after it has patched their sites, from the image alone.
 * @throws MissingError for an image without symbols; FormatError, TruncatedError for a broken symbol table
 */
export function lateSlotWrites(image: KernelImage): LateSlotWrite[] {
  return withProgram(image, (program) => tableOrders(program).flatMap(({ late }) => late));
}
