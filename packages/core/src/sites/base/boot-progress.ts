// A boot that stopped before or amid its own patching: sites that the kernel had not come to yet stay as they were. Which
// those are shows in the order of the table, since the kernel walks it from front to back.
import { fromKernelOffset } from "../../bytes/brand.ts";
import type { SiteContext } from "./context.ts";
import type { MechanismName } from "./mechanisms.ts";
import type { PatchSpace } from "./patch-space.ts";
import type { SiteList } from "./site.ts";

/** Mechanisms that boot applies once, in table order, and the function that does it. */
const AT_BOOT: Readonly<Partial<Record<MechanismName, string>>> = {
  alternatives: "alternative_instructions()",
  paravirt: "alternative_instructions()",
  retpolines: "alternative_instructions()",
  returns: "alternative_instructions()",
  "call-thunks": "alternative_instructions()",
  endbr: "alternative_instructions()",
  "jump-labels": "jump_label_init()",
};
/** So many untouched sites in a row at the table's end are no accident and no handful of overwritten ones. */
const MIN_PENDING = 16;

/** The intended layer as it was before a mechanism. */
export class Before {
  private readonly copies: readonly { intended: Uint8Array; credit: Uint8Array }[];

  constructor(private readonly space: PatchSpace) {
    this.copies = space.regions.map(({ intended, credit }) => ({ intended: intended.slice(), credit: credit.slice() }));
  }

  /** The bytes that stood there; undefined outside. */
  read(start: number, length: number): Uint8Array | undefined {
    const region = this.space.find(start, length);
    if (region === undefined) return undefined;
    const copy = this.copies[this.space.regions.indexOf(region)];
    return copy.intended.subarray(start - region.start, start - region.start + length);
  }

  /** Puts back bytes and credit. */
  restore(start: number, length: number): void {
    const region = this.space.find(start, length);
    if (region === undefined) return;
    const copy = this.copies[this.space.regions.indexOf(region)];
    const at = start - region.start;
    region.intended.set(copy.intended.subarray(at, at + length), at);
    region.credit.set(copy.credit.subarray(at, at + length), at);
  }
}

/**
 * The list with the sites taken back that the boot had not come to; the list itself when there are none.
 * @param before taken just before the mechanism was replayed
 */
export function holdBackPending(context: SiteContext, list: SiteList, before: Before): SiteList {
  const by = AT_BOOT[list.mechanism];
  const from = by === undefined ? -1 : firstPending(context, list, before);
  if (by === undefined || from < 0) return list;
  for (let i = from; i < list.offsets.length; i++) before.restore(list.offsets[i], list.lengths[i]);
  const how = from === 0 ? "had not begun with" : `had come to number ${from + 1} of`;
  context.problems.push(`${list.mechanism}: the boot stopped when ${by} ${how} its ${list.offsets.length} sites`);
  return {
    ...list,
    describe: (index) => {
      const details = list.describe(index);
      return index < from
        ? details
        : { ...details, reason: `${details.reason}; not patched yet at this point of boot` };
    },
  };
}

/** The first site of the run that reaches the table's end in which no site is as it would be patched; -1 for none. */
function firstPending({ kernel, space }: SiteContext, list: SiteList, before: Before): number {
  let first = -1;
  let pending = 0;
  for (let i = list.offsets.length - 1; i >= 0; i--) {
    const start = list.offsets[i];
    const length = list.lengths[i];
    const intended = space.read(start, length);
    const old = before.read(start, length);
    if (intended === undefined || old === undefined || length === 0 || same(intended, old)) continue;
    const found = kernel.memory.tryRead(fromKernelOffset(start), length);
    if (found === undefined) continue;
    if (!same(found, old)) break;
    first = i;
    pending++;
  }
  return pending >= MIN_PENDING ? first : -1;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** True when some site may still be pending: the core of a kernel that has not given back its init memory. */
export function mayBePending({ kernel, object }: SiteContext): boolean {
  return object.name === "vmlinux" && !kernel.initFreed && object.partial !== true;
}
