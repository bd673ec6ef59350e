// Jump labels: a NOP or a jump, by the state of a static key (kernel/jump_label.c, arch/x86/kernel/jump_label.c).
// Entries are {s32 code, s32 target, s64 key} relative to themselves since 4.20, {u64 code, target, key} before.

import type { BuiltSection } from "../../built/object.ts";
import { fromKernelOffset, type KernelOffset, toKernelOffset, virtualAddress } from "../../bytes/brand.ts";
import { kept } from "../../kernel/kept.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { placeOf, placeText } from "../../symbols/place.ts";
import { branch32, getI32, JMP8, JMP32 } from "../../x86/encode.ts";
import { heldLock, modulePending } from "../base/changes.ts";
import { findTable, type Mechanism, nameOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { type LegalForm, type Pending, SiteArrays, type SiteDetails } from "../base/site.ts";

interface Entries {
  readonly count: number;
  readonly size: number;
  code(i: number): KernelOffset | undefined;
  target(i: number): KernelOffset | undefined;
  /** address of the struct static_key with the low bits still in */
  key(i: number): bigint;
}

/** Which of the two layouts this is: the size that divides the table and whose entries point into the text. */
function readEntries(context: SiteContext, table: BuiltSection): Entries | undefined {
  const told = context.kernel.types.sizeOf("struct jump_entry");
  if (told !== undefined && told !== 16 && told !== 24) return undefined;
  const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.length);
  const relative: Entries = {
    size: 16,
    count: Math.floor(table.bytes.length / 16),
    code: (i) => table.start + i * 16 + view.getInt32(i * 16, true),
    target: (i) => table.start + i * 16 + 4 + view.getInt32(i * 16 + 4, true),
    key: (i) => virtualAddress(fromKernelOffset(table.start + i * 16 + 8) + view.getBigInt64(i * 16 + 8, true)),
  };
  const absolute: Entries = {
    size: 24,
    count: Math.floor(table.bytes.length / 24),
    code: (i) => toKernelOffset(view.getBigUint64(i * 24, true)),
    target: (i) => toKernelOffset(view.getBigUint64(i * 24 + 8, true)),
    key: (i) => view.getBigUint64(i * 24 + 16, true),
  };
  const fits = (entries: Entries): boolean => {
    if (table.bytes.length % entries.size !== 0) return false;
    let inside = 0;
    const sample = Math.min(entries.count, 64);
    for (let k = 0; k < sample; k++) {
      const i = Math.floor((k * entries.count) / sample);
      const code = entries.code(i);
      if (code !== undefined && code >= 0 && context.object.at(code)?.executable) inside++;
    }
    return inside * 2 > sample;
  };
  return fits(relative) ? relative : fits(absolute) ? absolute : undefined;
}

/** Largest __jump_table that is looked through for branch bits; kernels have some 100 KiB. */
const MAX_TABLE = 4 << 20;

/**
 * Whether the core's entries, as the dump has them, say in bit 0 of their key how they branch (11276d5306b8, 4.3). Before,
 * the key itself did, in bit 0 of static_key.entries, for all its sites (c5905afb0ee6, 3.3).
 */
export function coreEntriesHoldBranch(kernel: Kernel): boolean {
  return kept(kernel, readCoreEntriesHoldBranch);
}

function readCoreEntriesHoldBranch(kernel: Kernel): boolean {
  const start = kernel.find("__start___jump_table");
  const stop = kernel.find("__stop___jump_table");
  const size = start !== undefined && stop !== undefined && stop > start ? Number(stop - start) : 0;
  const bytes = start === undefined || size > MAX_TABLE ? undefined : kernel.memory.tryRead(start, size);
  for (let at = 16; bytes !== undefined && at + 8 <= size; at += 24) if ((bytes[at] & 1) === 1) return true;
  return false;
}

/** The same of this object's own entries. */
export function ownEntriesHoldBranch(context: SiteContext): boolean {
  const table = findTable(context.object, "__jump_table", "__start___jump_table", "__stop___jump_table");
  const entries = table && readEntries(context, table);
  for (let i = 0; entries !== undefined && i < entries.count; i++) if ((entries.key(i) & 1n) === 1n) return true;
  return false;
}

function entriesHoldBranch(context: SiteContext, own: Entries): boolean {
  // Relative entries came later than the bit.
  if (own.size !== 24) return true;
  return context.era?.entriesHoldBranch ?? (coreEntriesHoldBranch(context.kernel) || ownEntriesHoldBranch(context));
}

/** key->enabled while static_key_slow_inc() goes from site to site: counts as enabled (4c5ea0a9cd02, 4.7). */
const BEING_ENABLED = -1;
const isEnabled = (count: number): boolean => count !== 0;

interface Key {
  /** atomic_read(&key->enabled) */
  readonly count: number;
  /** bit 0 of key->entries */
  readonly trueBranch: boolean;
}

/** struct static_key {atomic_t enabled; struct jump_entry *entries; …}, struct jump_label_key up to 3.2. */
class StaticKeys {
  private readonly known = new Map<bigint, Key | null>();
  private readonly enabledAt: number;
  private readonly entriesAt: number;
  /** @param withBranch whether key->entries matters */
  constructor(
    private readonly context: SiteContext,
    private readonly withBranch: boolean,
  ) {
    const { structures } = context.kernel;
    this.enabledAt = structures.find("struct static_key", "enabled")?.offset ?? 0;
    this.entriesAt = structures.find("struct static_key", "entries")?.offset ?? 8;
  }
  read(key: bigint): Key | undefined {
    let found = this.known.get(key);
    if (found === undefined) {
      const { memory } = this.context.kernel;
      const enabled = memory.tryRead(virtualAddress(key + BigInt(this.enabledAt)), 4);
      const entries = this.withBranch ? memory.tryRead(virtualAddress(key + BigInt(this.entriesAt)), 1) : undefined;
      const trueBranch = ((entries?.[0] ?? 0) & 1) === 1;
      found = enabled === undefined ? null : { count: getI32(enabled, 0), trueBranch };
      this.known.set(key, found);
    }
    return found ?? undefined;
  }
}

export const applyJumpLabels: Mechanism = (context) => {
  const table = findTable(context.object, "__jump_table", "__start___jump_table", "__stop___jump_table");
  if (table === undefined) return undefined;
  const entries = readEntries(context, table);
  if (entries === undefined) {
    context.unknown.push({
      id: "unknown.table",
      mechanism: "jump-labels",
      object: context.object.name,
      address: fromKernelOffset(table.start),
      length: table.bytes.length,
      what: "__jump_table has entries of neither 16 nor 24 bytes",
    });
    return undefined;
  }
  const { space, state, kernel } = context;
  const id = mechanismId("jump-labels");
  const inEntries = entriesHoldBranch(context, entries);
  const keys = new StaticKeys(context, !inEntries);
  const sites = new SiteArrays(entries.count);
  const nop5 = state.nops.atomic5;
  const nop2 = Uint8Array.of(0x66, 0x90);
  const keyMask = ~3n;
  const isLikely = (key: bigint, state: Key | undefined): boolean =>
    inEntries ? (key & 1n) === 1n : state?.trueBranch === true;
  const jumpBytes = (code: KernelOffset, target: KernelOffset, length: number): Uint8Array =>
    length === 2 ? Uint8Array.of(JMP8, target - (code + 2)) : branch32(JMP32, code, target);
  for (let i = 0; i < entries.count; i++) {
    const code = entries.code(i);
    const target = entries.target(i);
    if (code === undefined || target === undefined) {
      sites.add(0, 0);
      continue;
    }
    const region = space.find(code, 2);
    if (region === undefined) {
      sites.add(code, 5);
      continue;
    }
    const index = code - region.start;
    const first = region.built[index];
    // e7bf1ba97afd, 5.14: two-byte forms; what was built tells the size.
    const length = first === JMP8 || (first === 0x66 && region.built[index + 1] === 0x90) ? 2 : 5;
    sites.add(code, length);
    const key = entries.key(i);
    const found = keys.read(key & keyMask);
    if (found === undefined) {
      space.forget(code, length, "jump-labels", "static key");
      continue;
    }
    const jump = isEnabled(found.count) !== isLikely(key, found);
    space.write(code, jump ? jumpBytes(code, target, length) : length === 2 ? nop2 : nop5, id);
  }
  const describe = (index: number): SiteDetails => {
    const code = sites.offsets[index];
    const length = sites.lengths[index];
    const key = entries.key(index);
    const at = key & keyMask;
    const found = keys.read(at);
    const count = found?.count;
    const target = entries.target(index) ?? 0;
    const place = placeOf(kernel.allSymbols, virtualAddress(at));
    const keyName = place === undefined ? `0x${at.toString(16)}` : placeText({ ...place, module: null });
    const enabled = isEnabled(count ?? 0);
    const likely = isLikely(key, found);
    const jump = enabled !== likely;
    const forms: LegalForm[] = jump
      ? [{ name: "NOP (jump label flipped)", bytes: length === 2 ? nop2 : nop5 }]
      : [{ name: `JMP to ${nameOf(context, target)} (jump label flipped)`, bytes: jumpBytes(code, target, length) }];
    const built = space.readBuilt(code, length);
    if (built !== undefined) forms.push({ name: "as built, never initialised", bytes: built });
    const changing = count === BEING_ENABLED ? ", being enabled" : "";
    return {
      slot: {
        name: `static key ${keyName}`,
        value: `${enabled ? "enabled" : "disabled"} (${count ?? "?"}${changing})`,
        address: at,
      },
      reason: `key ${enabled ? "enabled" : "disabled"}, branch ${likely ? "likely" : "unlikely"}: ${jump ? `JMP to ${nameOf(context, target)}` : "NOP"}`,
      forms,
    };
  };
  /** jump_label_update(): sites of the one key under change that were not reached yet. */
  const keyPending = (): Pending | undefined => {
    const evidence = heldLock(context, "jump_label_mutex");
    if (evidence === undefined) return undefined;
    return {
      evidence,
      key: (index) => entries.key(index) & keyMask,
      // jump_label_cmp() sorts by key, then by code (0f133021bd82, 5.3)
      ordered: entries.size === 16,
      names: (index) => keys.read(entries.key(index) & keyMask)?.count === BEING_ENABLED,
    };
  };
  return {
    mechanism: "jump-labels",
    object: context.object.name,
    entries: entries.count,
    table: `__jump_table (${entries.size}-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe,
    pending:
      modulePending(context, (index) => ({ start: sites.offsets[index], length: sites.lengths[index] }), describe) ??
      keyPending(),
  };
};
