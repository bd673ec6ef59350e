// A boot that stopped before or amid its own patching: sites that the kernel had not come to yet stay as they were. Which
// those are shows in the order of the table, since the kernel walks it from front to back.
import { fromKernelOffset } from "../../bytes/brand.ts";
import type { SiteContext } from "./context.ts";
import type { MechanismName } from "./mechanisms.ts";
import type { PatchRegion, PatchSpace } from "./patch-space.ts";
import type { SiteList } from "./site.ts";

/** A part of the boot that patches, once. */
interface Step {
  /** the function that does it */
  readonly by: string;
  /** the kernel's own flag that it is through, 0 until then */
  readonly flag?: string;
  /** Sites are not taken in the order of the table. */
  readonly anyOrder?: boolean;
}

/** arch/x86/kernel/alternative.c; the flag since 2.6.3x, exported since 5.x. */
const ALTERNATIVES: Step = { by: "alternative_instructions()", flag: "alternatives_patched" };
const AT_BOOT: Readonly<Partial<Record<MechanismName, Step>>> = {
  alternatives: ALTERNATIVES,
  paravirt: ALTERNATIVES,
  retpolines: ALTERNATIVES,
  returns: ALTERNATIVES,
  "call-thunks": ALTERNATIVES,
  endbr: ALTERNATIVES,
  cfi: { ...ALTERNATIVES, anyOrder: true },
  "jump-labels": { by: "jump_label_init()", flag: "static_key_initialized" },
  "static-calls": { by: "static_call_init()", flag: "static_call_initialized", anyOrder: true },
  "runtime-consts": { by: "runtime_const_init()", anyOrder: true },
};
/** So many untouched sites in a row at the table's end are no accident and no handful of overwritten ones. */
const MIN_PENDING = 16;

/** The intended layer as it was before a mechanism. */
export class Before {
  private readonly copies: ReadonlyMap<PatchRegion, { intended: Uint8Array; credit: Uint8Array }>;

  constructor(private readonly space: PatchSpace) {
    this.copies = new Map(
      space.regions.map((region) => [region, { intended: region.intended.slice(), credit: region.credit.slice() }]),
    );
  }

  /** The bytes that stood there; undefined outside. */
  read(start: number, length: number): Uint8Array | undefined {
    const region = this.space.find(start, length);
    const copy = region && this.copies.get(region);
    if (region === undefined || copy === undefined) return undefined;
    return copy.intended.subarray(start - region.start, start - region.start + length);
  }

  /** Puts back bytes and credit. */
  restore(start: number, length: number): void {
    const region = this.space.find(start, length);
    const copy = region && this.copies.get(region);
    if (region === undefined || copy === undefined) return;
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
  const step = AT_BOOT[list.mechanism];
  if (step === undefined) return list;
  const through = step.flag === undefined ? undefined : flagOf(context, step.flag);
  if (through === true) return list;
  const { pending, patched, odd } = progressOf(context, list, before);
  let held: ReadonlySet<number>;
  if (step.anyOrder) {
    if (step.flag !== undefined && through === undefined && patched.length > 0) return list;
    held = new Set(pending);
  } else {
    const last = patched.at(-1) ?? -1;
    const behind = pending.filter((i) => i > last);
    // The kernel's flag is proof; so is a mechanism without a single patched site. Else it takes many.
    if (through === undefined && patched.length > 0 && behind.length < MIN_PENDING) return list;
    held = new Set(behind);
  }
  if (held.size === 0) return list;
  for (const i of held) before.restore(list.offsets[i], list.lengths[i]);
  // Prefixes and callers of kCFI are rewritten up to four times, one after the other.
  const between = list.mechanism === "cfi" && through === false && patched.length > 0 ? odd : [];
  for (const i of between) context.space.leaveOut(list.offsets[i], list.lengths[i]);
  const all = list.offsets.length;
  const how =
    patched.length === 0
      ? `had not begun with its ${all} sites`
      : step.anyOrder
        ? `had still to come to ${held.size} of its ${all} sites`
        : `had come to number ${Math.min(...held) + 1} of its ${all} sites`;
  context.problems.push(`${list.mechanism}: the boot stopped when ${step.by} ${how}`);
  return {
    ...list,
    describe: (index) => {
      const details = list.describe(index);
      return held.has(index)
        ? { ...details, reason: `${details.reason}; not patched yet at this point of boot` }
        : details;
    },
  };
}

/** The flag's value; undefined when the kernel has none, or it is not in the dump. */
function flagOf({ kernel }: SiteContext, name: string): boolean | undefined {
  const at = kernel.find(name);
  const byte = at === undefined ? undefined : kernel.memory.tryRead(at, 1)?.[0];
  return byte === undefined ? undefined : byte !== 0;
}

interface Progress {
  /** sites that are as they were before the mechanism, and would not be afterwards */
  readonly pending: readonly number[];
  /** sites that are as the mechanism leaves them, and were not before */
  readonly patched: readonly number[];
  /** sites that are neither: written by another mechanism, or overwritten */
  readonly odd: readonly number[];
}

function progressOf({ kernel, space }: SiteContext, list: SiteList, before: Before): Progress {
  const out = { pending: [] as number[], patched: [] as number[], odd: [] as number[] };
  for (let i = 0; i < list.offsets.length; i++) {
    const start = list.offsets[i];
    const length = list.lengths[i];
    const intended = space.read(start, length);
    const old = before.read(start, length);
    if (intended === undefined || old === undefined || length === 0 || same(intended, old)) continue;
    const found = kernel.memory.tryRead(fromKernelOffset(start), length);
    if (found === undefined) continue;
    (same(found, old) ? out.pending : same(found, intended) ? out.patched : out.odd).push(i);
  }
  return out;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** True when some site may still be pending: the core of a kernel that has not given back its init memory. */
export function mayBePending({ kernel, object }: SiteContext): boolean {
  return object.name === "vmlinux" && !kernel.initFreed && object.partial !== true;
}
