// Tables of patch sites that belong to no mechanism that is known. A section gives itself away by its name, or by what it
// lists: places in the text that hold other bytes than were built. Those are one finding, not a heap of foreign bytes.

import type { BuiltObject, BuiltSection } from "../../built/object.ts";
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { derived } from "../../bytes/derived.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import { RangeIndex } from "../../bytes/range-index.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getI32 } from "../../x86/encode.ts";
import type { SiteContext } from "../base/context.ts";
import type { PatchSpace } from "../base/patch-space.ts";
import type { UnknownPart } from "../base/site.ts";

/** Sections that the mechanisms read, or that others of the same kind describe. */
const KNOWN = new Set([
  ".altinstructions",
  ".altinstr_replacement",
  ".altinstr_aux",
  ".parainstructions",
  ".retpoline_sites",
  ".return_sites",
  ".call_sites",
  ".ibt_endbr_seal",
  ".cfi_sites",
  ".smp_locks",
  ".static_call_sites",
  "__jump_table",
  "__mcount_loc",
]);
/** Sections that list code for other reasons than to have it rewritten. */
const NO_SITES = new Set([
  "__patchable_function_entries",
  ".orc_unwind_ip",
  ".orc_lookup",
  "__ex_table",
  "__bug_table",
  "__tracepoints_ptrs",
  ".pci_fixup",
  ".apicdrivers",
]);
/** How kernels have named their tables of patch sites so far, and livepatch's own (.klp.arch, 4.7 to 5.7). */
const LIKE_SITES =
  /_sites$|^\.altinstr|^\.parainstr|^\.ibt_|^\.cfi_|^\.klp\.arch\.|^runtime_(?!ptr_|shift_|mask_)[a-z]+_/;
/** Pairs of symbols that linker scripts put around a table. */
const START = /^__start_(\w+)$/;
const END = /^(\w+)_end$/;

const RELATIVE_STRIDES = [4, 8, 12, 13, 14, 16, 20, 24, 28, 32] as const;
const ABSOLUTE_STRIDES = [8, 12, 16, 20, 24, 32, 40] as const;
const MAX_TABLE = 16 << 20;
/** The share of entries that must point to code. */
const MIN_POINTING = 0.95;
/** A site's first byte that changes is among so many: behind an opcode with prefixes comes what it leads to. */
const NEAR = 8;
/** The same for a table that is known by its name: no site of any mechanism so far is longer. */
const WINDOW = 64;
/** So many listed places hold other bytes than were built before a table is believed to be of patch sites … */
const MIN_HITS = 8;
/** … and this share of them: tables that list code for other reasons (unwinding, faults) name nearly every function. */
const MIN_SHARE = 0.2;

/** Sections that look like tables of patch sites by their name, told as a note: nothing shows that they matter here. */
export function tellUnknownTables(context: SiteContext): void {
  const { object } = context;
  for (const name of object.sectionNames()) {
    if (KNOWN.has(name) || !LIKE_SITES.test(name)) continue;
    const table = object.section(name);
    if (table === undefined || table.bytes.length === 0 || table.executable) continue;
    context.unknown.push({ ...partOf(object, table, listedPlaces(object, table)), severity: "note" });
  }
}

/** What is needed of a replayed object. */
interface Replayed {
  readonly object: BuiltObject;
  readonly space: PatchSpace;
  readonly unknown: readonly UnknownPart[];
}

/** A run of bytes that no site explains. */
export interface Unexplained {
  readonly at: KernelOffset;
  readonly length: number;
}

/**
 * Finds the tables that list the given places and leaves those places out of the account (the object must be audited
 * again). Tables whose form a mechanism has already found unknown need no further proof.
 */
export function leaveOutUnknownTables(
  kernel: Kernel,
  replayed: Replayed,
  unexplained: readonly Unexplained[],
): UnknownPart[] {
  const { object, space } = replayed;
  const runs = [...unexplained].sort((a, b) => a.at - b.at);
  const parts: UnknownPart[] = [];
  const left = new Set<Unexplained>();
  const fitting: Fitting[] = [];
  for (const table of candidates(kernel, replayed)) {
    const told = replayed.unknown.some((part) => isTold(part, table));
    const listed = listedPlaces(object, table);
    if (listed === undefined) continue;
    const places = listed.places.filter((place) => space.find(place) !== undefined).sort((a, b) => a - b);
    const hits = runsAt(places, runs, told ? WINDOW : NEAR);
    if (hits.size === 0 || (!told && (hits.size < MIN_HITS || hits.size < MIN_SHARE * places.length))) continue;
    fitting.push({ table, listed, hits, share: told ? 1 : hits.size / places.length });
  }
  // Of two tables that name the same places, the one of which more places deviate is the reason.
  for (const { table, listed, hits, share } of fitting.sort((x, y) => y.share - x.share)) {
    let bytes = 0;
    for (const run of [...hits.values()].flat()) {
      if (left.has(run)) continue;
      left.add(run);
      bytes += run.length;
      space.leaveOut(run.at, run.length);
    }
    if (share === 1 && replayed.unknown.some((part) => isTold(part, table))) continue;
    if (bytes === 0) continue;
    const part = partOf(object, table, listed);
    parts.push({ ...part, what: `${part.what}; ${bytes} bytes at ${hits.size} of them differ from what was built` });
  }
  return parts;
}

interface Fitting {
  readonly table: BuiltSection;
  readonly listed: Listed;
  readonly hits: ReadonlyMap<KernelOffset, readonly Unexplained[]>;
  readonly share: number;
}

/** True when a mechanism has already said that it cannot read this table. */
function isTold(part: UnknownPart, table: BuiltSection): boolean {
  return part.severity !== "note" && part.address === fromKernelOffset(table.start);
}

function partOf(object: BuiltObject, table: BuiltSection, listed: Listed | undefined): UnknownPart {
  const words =
    listed === undefined
      ? "of an unknown form"
      : `${listed.stride}-byte entries list ${listed.places.length} places in the code`;
  return {
    id: "unknown.mechanism",
    mechanism: table.name,
    object: object.name,
    address: fromKernelOffset(table.start),
    length: table.bytes.length,
    what: words,
  };
}

function candidates(kernel: Kernel, { object, unknown }: Replayed): BuiltSection[] {
  const out: BuiltSection[] = [];
  const told = new Set(unknown.map((part) => part.address));
  const starts = new Set<KernelOffset>();
  const add = (table: BuiltSection | undefined): void => {
    if (table === undefined || table.executable || table.bytes.length === 0 || table.bytes.length > MAX_TABLE) return;
    if (NO_SITES.has(table.name)) return;
    if (KNOWN.has(table.name) && !told.has(fromKernelOffset(table.start))) return;
    if (starts.has(table.start)) return;
    starts.add(table.start);
    out.push(table);
  };
  for (const name of object.sectionNames()) {
    // Big sections hold many things; the tables in them lie between symbols.
    if (!/^\.(data|rodata|bss|init\.data|brk)/.test(name)) add(object.section(name));
  }
  for (const [start, stop] of object.name === "vmlinux" ? symbolPairs(kernel) : []) {
    try {
      add(object.between(start, stop));
    } catch (error) {
      // Two symbols of like names that are no pair: the second lies in another section.
      if (!(error instanceof PalimpsestError)) throw error;
    }
  }
  return out;
}

/** __start_X and __stop_X, __X and __X_end. */
function symbolPairs(kernel: Kernel): (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  for (const { name, type } of kernel.symbols.all()) {
    if (/[tTwWaA]/.test(type)) continue;
    const started = START.exec(name)?.[1];
    if (started !== undefined) {
      const known = [started, `__${started}`, `.${started}`].some((each) => KNOWN.has(each) || NO_SITES.has(each));
      if (!known) pairs.push([name, `__stop_${started}`]);
    }
    const ended = END.exec(name)?.[1];
    if (ended !== undefined && !KNOWN.has(ended.replace(/^__/, ".").replace("alt_", "alt"))) {
      pairs.push([ended, name]);
    }
  }
  return pairs;
}

function textIndex(object: BuiltObject): RangeIndex<BuiltSection> {
  return new RangeIndex(object.text.map((part) => ({ start: part.start, length: part.bytes.length, value: part })));
}

interface Listed {
  readonly stride: number;
  readonly places: KernelOffset[];
}

/** The places in code that a table lists in the first field of its entries; undefined when it is no such table. */
export function listedPlaces(object: BuiltObject, table: BuiltSection): Listed | undefined {
  const { bytes, start } = table;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const relative = (at: number): KernelOffset => start + at + getI32(bytes, at);
  const absolute = (at: number): KernelOffset => toKernelOffset(view.getBigUint64(at, true)) ?? -1;
  const text = derived(object, textIndex);
  const isCode = (place: KernelOffset): boolean =>
    text.find(place) !== undefined || (place >= 0 && object.at(place)?.executable === true);
  const tryForm = (stride: number, field: number, place: (at: number) => KernelOffset): Listed | undefined => {
    const count = Math.floor((bytes.length - field) / stride) + 1;
    if (bytes.length < field || count < 1) return undefined;
    const allowed = Math.floor(count * (1 - MIN_POINTING));
    const places: KernelOffset[] = [];
    for (let i = 0, others = 0; i < count; i++) {
      const at = place(i * stride);
      if (isCode(at)) places.push(at);
      else if (++others > allowed) return undefined;
    }
    return { stride, places };
  };
  // A size that the stride divides is the better sign; the smallest stride that fits is the entry's.
  for (const exact of [true, false]) {
    for (const stride of RELATIVE_STRIDES) {
      const listed = (bytes.length % stride === 0) === exact ? tryForm(stride, 4, relative) : undefined;
      if (listed !== undefined) return listed;
    }
    for (const stride of ABSOLUTE_STRIDES) {
      const listed = (bytes.length % stride === 0) === exact ? tryForm(stride, 8, absolute) : undefined;
      if (listed !== undefined) return listed;
    }
  }
  return undefined;
}

/** Place → the runs that begin there or less than `window` bytes behind it; both ascending. */
function runsAt(
  places: readonly KernelOffset[],
  runs: readonly Unexplained[],
  window: number,
): Map<KernelOffset, Unexplained[]> {
  const hits = new Map<KernelOffset, Unexplained[]>();
  let next = 0;
  for (let i = 0; i < places.length; i++) {
    const end = Math.min(places[i] + window, places[i + 1] ?? Number.POSITIVE_INFINITY);
    while (next < runs.length && runs[next].at < places[i]) next++;
    while (next < runs.length && runs[next].at < end) {
      const known = hits.get(places[i]);
      if (known === undefined) hits.set(places[i], [runs[next]]);
      else known.push(runs[next]);
      next++;
    }
  }
  return hits;
}
