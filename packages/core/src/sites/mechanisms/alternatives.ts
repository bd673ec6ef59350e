// Alternatives: instructions replaced by what the CPU's features call for (arch/x86/kernel/alternative.c). Since 6.8
// paravirt calls are alternatives too (ALT_FLAG_DIRECT_CALL).
import { fromKernelOffset, type KernelOffset } from "../../bytes/brand.ts";
import { branch32, CALL, hexBytes, rel32Target } from "../../x86/encode.ts";
import { fillNops } from "../../x86/nops.ts";
import { mergeNops, mergeSingleNops, relocateReplacement, relocateSimple } from "../base/alt-relocate.ts";
import { type AltTable, altLayout, entryAddress, featureName, readAltTable, siteRun } from "../base/alt-table.ts";
import { findTable, type Mechanism, nameOf, type SiteContext } from "../base/context.ts";
import { decodeIndirect } from "../base/indirect-call.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { PvSlots } from "../base/pv-slots.ts";
import { type LegalForm, SiteArrays, type SlotState } from "../base/site.ts";

/** Replays alternatives on one object. */
class Replay {
  readonly slots: PvSlots;
  private readonly noop: KernelOffset | undefined;
  private readonly bug: KernelOffset | undefined;
  /** Before 4.1: only a CALL is moved, and nothing improves the padding that was assembled. */
  private readonly plain: boolean;

  constructor(
    private readonly context: SiteContext,
    readonly table: AltTable,
  ) {
    this.slots = new PvSlots(context);
    // nop_func since 6.8, x86_nop in newer builds; BUG_func stands in for NULL.
    this.noop = context.state.symbol("nop_func");
    this.bug = context.state.symbol("BUG_func");
    // 12-byte entries were there twice: 3.6 to 4.0, and from 5.13 on (and late 5.10), with optimize_nops() since 4.1
    // (4fd4b6e5537c) and without ideal_nops since 5.13 (a89dfde3dc3c).
    const { state } = context;
    this.plain =
      table.layout === 24 ||
      (table.layout === 12 && state.symbol("ideal_nops") !== undefined && state.symbol("optimize_nops") === undefined);
  }

  eligible(i: number): boolean {
    return this.context.kernel.features.has(this.table.feature[i]) !== (this.table.not[i] === 1);
  }

  /**
   * The bytes that entry i leaves at its site of `length` bytes; `before` is what stood there. Undefined when the
   * replacement or a slot cannot be read.
   */
  applied(i: number, before: Uint8Array, length: number): Uint8Array | undefined {
    const { table, context } = this;
    const at = table.instr[i];
    const from = table.replacement[i];
    const size = table.replacementLength[i];
    const replacement = size === 0 ? new Uint8Array() : context.space.read(from, size);
    if (replacement === undefined || size > length) return undefined;
    const out = new Uint8Array(length);
    out.set(replacement);
    if (table.directCall[i]) {
      const call = this.directCall(before, at, from, out);
      if (call === undefined) return undefined;
      out.set(call.bytes);
      out.fill(0x90, call.bytes.length);
      // What follows treats it as the relocated replacement: the CALL leaves it, nothing else can.
      mergeNops(out, length, context.state.nops);
      return out;
    }
    out.fill(0x90, size);
    const { nops } = context.state;
    if (this.plain) {
      if (out[0] === CALL) relocateSimple(out, at, from, size, nops);
      fillNops(out, size, length - size, nops);
      return out;
    }
    switch (table.layout) {
      case 14:
        relocateReplacement(out, length, at, from, size);
        mergeNops(out, length, nops);
        break;
      case 12:
        relocateSimple(out, at, from, size, nops);
        mergeSingleNops(out, length, nops);
        break;
      case 13:
        relocateSimple(out, at, from, size, nops);
        fillNops(out, size, length - size, nops);
        break;
    }
    return out;
  }

  /** Padding is improved even where no entry applies. */
  padded(i: number, before: Uint8Array, length: number): Uint8Array {
    const out = before.slice(0, length);
    const { nops } = this.context.state;
    if (this.plain) return out;
    if (this.table.layout === 14) mergeNops(out, length, nops);
    else if (this.table.layout === 12) mergeSingleNops(out, length, nops);
    else if (this.table.layout === 13) {
      const pad = this.table.padLength[i];
      if (pad > 1 && pad <= length && this.improves(this.table.instr[i], out, length, pad)) {
        fillNops(out, length - pad, pad, nops);
      }
    }
    return out;
  }

  /**
   * optimize_nops() of 4.1 to 5.12 looks at the first `padlen` bytes of the site, not at its padding: a site that begins
   * with real instructions keeps its 0x90s. Up to 4.14 (before 612e8e9350fd, which stable kernels took over) it looked at
   * the first byte only; where the two differ, the place itself tells.
   */
  private improves(at: KernelOffset, before: Uint8Array, length: number, pad: number): boolean {
    if (before[0] !== 0x90) return false;
    if (before.subarray(0, pad).every((byte) => byte === 0x90)) return true;
    const padded = before.slice();
    fillNops(padded, length - pad, pad, this.context.state.nops);
    const found = this.context.kernel.memory.tryRead(fromKernelOffset(at), length);
    return found?.every((byte, k) => byte === padded[k]) === true;
  }

  /** alt_replace_call(): the direct call to what the pv_ops slot of the built `call *disp(%rip)` holds. */
  private directCall(
    before: Uint8Array,
    at: KernelOffset,
    from: KernelOffset,
    replacement: Uint8Array,
  ): { slot: KernelOffset; bytes: Uint8Array } | undefined {
    const branch = decodeIndirect(before, at);
    if (branch === undefined) return undefined;
    const value = this.slots.value(branch.slot);
    if (value === undefined) return undefined;
    const target = value.target ?? this.bug;
    if (target === undefined) return undefined;
    // The replacement calls BUG_func, or its counting padding where call depth is tracked; the distance is kept.
    const built = replacement[0] === CALL ? rel32Target(replacement, 1, from + 5) : this.bug;
    const distance = this.bug === undefined || built === undefined ? 0 : built - this.bug;
    const bytes = target === this.noop ? new Uint8Array() : branch32(CALL, at, target + distance);
    return { slot: branch.slot, bytes };
  }

  /** What a direct call leaves whose slot holds the function that does nothing. */
  emptied(length: number): Uint8Array {
    const out = new Uint8Array(length).fill(0x90);
    mergeNops(out, length, this.context.state.nops);
    return out;
  }

  /** The slot behind a DIRECT_CALL entry, for words. */
  slotOf(i: number): SlotState | undefined {
    const built = this.context.space.readBuilt(this.table.instr[i], Math.max(6, this.table.length[i]));
    const branch = built && decodeIndirect(built, this.table.instr[i]);
    if (branch === undefined) return undefined;
    const value = this.slots.value(branch.slot);
    return {
      name: this.slots.name(branch.slot),
      value: value?.target === undefined ? "NULL" : nameOf(this.context, value.target),
      address: fromKernelOffset(branch.slot),
    };
  }
}

export const applyAlternatives: Mechanism = (context) => {
  const section = findTable(context.object, ".altinstructions", "__alt_instructions", "__alt_instructions_end");
  if (section === undefined) return undefined;
  const layout = altLayout(context, section);
  if (layout === undefined) {
    const size = context.kernel.types.sizeOf("struct alt_instr");
    context.unknown.push({
      id: "unknown.table",
      mechanism: "alternatives",
      object: context.object.name,
      address: fromKernelOffset(section.start),
      length: section.bytes.length,
      what: `.altinstructions: ${size === undefined ? "no known entry size fits" : `entries of ${size} bytes`}`,
    });
    return undefined;
  }
  const table = readAltTable(section, layout);
  const replay = new Replay(context, table);
  const { space } = context;
  const id = mechanismId("alternatives");
  const sites = new SiteArrays(table.count);
  const words = context.kernel.features.words.length;
  const odd: number[] = [];
  const firstEntry: number[] = [];
  for (let first = 0; first < table.count; ) {
    // Since 6.3 nested entries are consecutive and the site is as long as the longest; before, each entry is by itself.
    const end = siteRun(table, first);
    let length = 0;
    for (let i = first; i < end; i++) length = Math.max(length, table.length[i]);
    firstEntry.push(first);
    const at = table.instr[first];
    sites.add(at, length);
    const before = space.read(at, length);
    let strange = false;
    // A flag or a feature beyond those that the kernel has room for: a rule that is not known chooses the replacement.
    for (let i = first; i < end; i++) if (table.odd[i] !== 0 || table.feature[i] >> 5 >= words) strange = true;
    if (strange) {
      odd.push(first);
      space.leaveOut(at, length);
    } else if (before !== undefined) {
      let bytes: Uint8Array | undefined;
      if (layout === 14) {
        let chosen = -1;
        for (let i = first; i < end; i++) if (replay.eligible(i)) chosen = i;
        bytes = chosen < 0 ? replay.padded(first, before, length) : replay.applied(chosen, before, length);
        if (bytes === undefined) {
          context.problems.push(
            `alternative at ${nameOf(context, at)}: ${hexBytes(before)} cannot be replayed (${featureName(context.kernel, table, chosen)})`,
          );
        }
      } else {
        bytes = before.slice();
        for (let i = first; i < end; i++) {
          const size = table.length[i];
          const part = replay.eligible(i) ? replay.applied(i, bytes, size) : replay.padded(i, bytes, size);
          if (part === undefined) {
            context.problems.push(`alternative at ${nameOf(context, at)}: its replacement text is not in the image`);
            continue;
          }
          bytes.set(part);
        }
      }
      if (bytes !== undefined) writeChanged(context, at, before, bytes, id);
    }
    first = end;
  }
  if (odd.length > 0) {
    const count = odd.length === 1 ? "1 site has" : `${odd.length} sites have`;
    context.unknown.push({
      id: "unknown.table",
      mechanism: "alternatives",
      object: context.object.name,
      address: entryAddress(section, layout, odd[0]),
      length: layout,
      what: `${section.name}: ${count} entries with flags or features that are not known, the first for ${nameOf(context, table.instr[odd[0]])}`,
    });
  }
  return {
    mechanism: "alternatives",
    object: context.object.name,
    entries: table.count,
    table: `${section.name} (${layout}-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const first = firstEntry[index];
      const end = siteRun(table, first);
      const at = sites.offsets[index];
      const length = sites.lengths[index];
      const built = space.readBuilt(at, length) ?? new Uint8Array(length);
      const forms: LegalForm[] = [{ name: "original instructions", bytes: replay.padded(first, built, length) }];
      if (hexBytes(forms[0].bytes) !== hexBytes(built)) forms.push({ name: "left as built", bytes: built });
      const states: string[] = [];
      let slot: SlotState | undefined;
      for (let i = first; i < end; i++) {
        const bytes = replay.applied(i, built, Math.max(length, table.length[i]));
        if (bytes !== undefined)
          forms.push({ name: `replacement for ${featureName(context.kernel, table, i)}`, bytes });
        states.push(`${featureName(context.kernel, table, i)} ${replay.eligible(i) ? "applies" : "does not apply"}`);
        if (!table.directCall[i]) continue;
        slot = replay.slotOf(i);
        forms.push({ name: "NOPs, as for a slot with an empty function", bytes: replay.emptied(length) });
      }
      // 5.13 to 6.7: native code by an alternative, in a call that is a paravirt site as well.
      if (slot === undefined && built[0] === 0xff) slot = replay.slotOf(first);
      return {
        slot: slot ?? { name: featureName(context.kernel, table, first), value: states[0] ?? "" },
        reason: states.join("; "),
        forms,
        callsFunctions: slot !== undefined || built[0] === 0xff,
      };
    },
  };
};

/** Credits only bytes that the alternative changed: an entry that does not apply leaves the others' credit alone. */
function writeChanged(context: SiteContext, at: KernelOffset, before: Uint8Array, after: Uint8Array, id: number): void {
  let start = -1;
  const old = before.slice();
  for (let i = 0; i <= after.length; i++) {
    const differs = i < after.length && after[i] !== old[i];
    if (differs && start < 0) start = i;
    if (!differs && start >= 0) {
      context.space.write(at + start, after.slice(start, i), id);
      start = -1;
    }
  }
}
