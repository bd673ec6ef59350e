// Jump labels: a NOP or a jump, by the state of a static key (kernel/jump_label.c, arch/x86/kernel/jump_label.c).
// Entries are {s32 code, s32 target, s64 key} relative to themselves since 4.20, {u64 code, target, key} before.

import type { BuiltSection } from "../built/object.ts";
import { fromKernelOffset, type KernelOffset, toKernelOffset, virtualAddress } from "../bytes/brand.ts";
import { branch32, getI32, JMP8, JMP32 } from "../x86/encode.ts";
import { findTable, type Mechanism, nameOf, type SiteContext } from "./context.ts";
import { mechanismId } from "./mechanisms.ts";
import { SiteArrays } from "./site.ts";

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

/** static_key_enabled(): atomic_read(&key->enabled) > 0; the counter is the first member of struct static_key. */
class StaticKeys {
  private readonly counts = new Map<bigint, number | null>();
  private readonly enabledAt: number;
  constructor(private readonly context: SiteContext) {
    this.enabledAt = context.kernel.structures.find("struct static_key", "enabled")?.offset ?? 0;
  }
  count(key: bigint): number | undefined {
    let count = this.counts.get(key);
    if (count === undefined) {
      const bytes = this.context.kernel.memory.tryRead(virtualAddress(key + BigInt(this.enabledAt)), 4);
      count = bytes === undefined ? null : getI32(bytes, 0);
      this.counts.set(key, count);
    }
    return count ?? undefined;
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
  const keys = new StaticKeys(context);
  const sites = new SiteArrays(entries.count);
  const nop5 = state.nops.atomic5;
  const nop2 = Uint8Array.of(0x66, 0x90);
  const keyMask = ~3n;
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
    const count = keys.count(key & keyMask);
    if (count === undefined) {
      context.problems.push(`the static key of ${nameOf(context, code)} is not in the dump`);
      continue;
    }
    const jump = count > 0 !== ((key & 1n) === 1n);
    space.write(code, jump ? jumpBytes(code, target, length) : length === 2 ? nop2 : nop5, id);
  }
  return {
    mechanism: "jump-labels",
    object: context.object.name,
    entries: entries.count,
    table: `__jump_table (${entries.size}-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const code = sites.offsets[index];
      const length = sites.lengths[index];
      const key = entries.key(index);
      const at = key & keyMask;
      const count = keys.count(at);
      const target = entries.target(index) ?? 0;
      const name = kernel.allSymbols.nearest(virtualAddress(at));
      const keyName =
        name === undefined
          ? `0x${at.toString(16)}`
          : `${name.symbol.name}${name.offset ? `+0x${name.offset.toString(16)}` : ""}`;
      const enabled = (count ?? 0) > 0;
      const likely = (key & 1n) === 1n;
      const jump = enabled !== likely;
      return {
        slot: {
          name: `static key ${keyName}`,
          value: `${enabled ? "enabled" : "disabled"} (${count ?? "?"})`,
          address: at,
        },
        reason: `key ${enabled ? "enabled" : "disabled"}, branch ${likely ? "likely" : "unlikely"}: ${jump ? `JMP to ${nameOf(context, target)}` : "NOP"}`,
        forms: [
          { name: `JMP to ${nameOf(context, target)} (jump label flipped)`, bytes: jumpBytes(code, target, length) },
          { name: "NOP (jump label flipped)", bytes: length === 2 ? nop2 : nop5 },
        ].filter((form) => form.name.startsWith("JMP") !== jump),
      };
    },
  };
};
