// Paravirt calls up to 6.7: .parainstructions lists indirect calls through pv_ops (pv_*_ops before 4.20), which
// apply_paravirt() turns into direct calls, native instructions or NOPs (arch/x86/kernel/alternative.c, paravirt.c,
// paravirt_patch.c). Since 6.8 the same sites are alternatives.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import { branch32, CALL, hexBytes, JMP32 } from "../x86/encode.ts";
import { fillNops } from "../x86/nops.ts";
import { findTable, type Mechanism, nameOf, type SiteContext } from "./context.ts";
import { decodeIndirect } from "./indirect-call.ts";
import { mechanismId } from "./mechanisms.ts";
import { PvSlots } from "./pv-slots.ts";
import { type LegalForm, SiteArrays } from "./site.ts";

/** struct paravirt_patch_site {u8 *instr; u8 type; u8 len; …}: 16 bytes in every release that has it. */
const ENTRY = 16;

/**
 * Native instructions that native_patch() inlines, by slot name (paravirt_patch.c in 5.10, paravirt_patch_64.c before).
 * 5.13 and newer inline by alternatives instead and have no native_patch.
 */
const NATIVE: Readonly<Record<string, readonly number[]>> = {
  "irq.irq_disable": [0xfa],
  "irq.irq_enable": [0xfb],
  "irq.save_fl": [0x9c, 0x58],
  "irq.restore_fl": [0x57, 0x9d],
  "mmu.read_cr2": [0x0f, 0x20, 0xd0],
  "mmu.read_cr3": [0x0f, 0x20, 0xd8],
  "mmu.write_cr3": [0x0f, 0x22, 0xdf],
  "cpu.wbinvd": [0x0f, 0x09],
  "cpu.usergs_sysret64": [0x0f, 0x01, 0xf8, 0x48, 0x0f, 0x07],
  "cpu.swapgs": [0x0f, 0x01, 0xf8],
};
/** Only up to 4.19, where each group is a structure of its own. */
const NATIVE_OLD: Readonly<Record<string, readonly number[]>> = {
  "mmu.flush_tlb_single": [0x0f, 0x01, 0x3f],
  "cpu.iret": [0x48, 0xcf],
  "cpu.clts": [0x0f, 0x06],
  "cpu.irq_enable_sysexit": [0x0f, 0x01, 0xf8, 0xfb, 0x0f, 0x35],
  "cpu.usergs_sysret32": [0x0f, 0x01, 0xf8, 0x0f, 0x07],
};
/** Slots that are jumped through (they do not return). */
const JUMPS = new Set(["cpu.iret", "cpu.usergs_sysret64", "cpu.usergs_sysret32", "cpu.irq_enable_sysexit"]);

export const applyParavirt: Mechanism = (context) => {
  const table = findTable(context.object, ".parainstructions", "__parainstructions", "__parainstructions_end");
  if (table === undefined) return undefined;
  const { space } = context;
  const id = mechanismId("paravirt");
  // 5.10's section lacks the padding behind its last entry: a tail of 10 or more bytes is an entry.
  const entries = Math.floor((table.bytes.length + ENTRY - 10) / ENTRY);
  const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.length);
  const sites = new SiteArrays(entries);
  const slotOf = new Float64Array(entries).fill(-1);
  const patcher = new ParavirtPatcher(context);
  for (let i = 0; i < entries; i++) {
    const at = toKernelOffset(view.getBigUint64(i * ENTRY, true));
    const length = table.bytes[i * ENTRY + 9];
    if (at === undefined) {
      sites.add(0, 0);
      continue;
    }
    sites.add(at, length);
    const built = space.readBuilt(at, length);
    if (built === undefined) continue;
    const branch = decodeIndirect(built, at);
    const slot = branch?.slot ?? patcher.slotOfType(table.bytes[i * ENTRY + 8]);
    if (slot === undefined) {
      context.problems.push(`paravirt site ${nameOf(context, at)}: ${hexBytes(built)} names no slot`);
      continue;
    }
    slotOf[i] = slot;
    const bytes = patcher.bytes(slot, at, length);
    if (bytes === undefined) context.problems.push(`paravirt slot ${patcher.slots.name(slot)} is not in the dump`);
    else space.write(at, bytes, id);
  }
  return {
    mechanism: "paravirt",
    object: context.object.name,
    entries,
    table: `${table.name} (16-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const slot = slotOf[index];
      const at = sites.offsets[index];
      const length = sites.lengths[index];
      if (slot < 0) return { reason: "the slot is unknown", forms: [], callsFunctions: true };
      const value = patcher.slots.value(slot);
      const forms: LegalForm[] = [];
      const built = space.readBuilt(at, length);
      if (built) forms.push({ name: "indirect call left as built", bytes: built });
      const native = patcher.nativeBytes(slot, length);
      if (native) forms.push({ name: "native instructions", bytes: native });
      const nops = new Uint8Array(length);
      fillNops(nops, 0, length, context.state.nops);
      forms.push({ name: "NOPs", bytes: nops });
      const target = value?.target === undefined ? "NULL" : nameOf(context, value.target);
      return {
        slot: { name: patcher.slots.name(slot), value: target, address: fromKernelOffset(slot) },
        reason: `${patcher.slots.name(slot)} holds ${target}`,
        forms,
        callsFunctions: true,
      };
    },
  };
};

/** What apply_paravirt() writes for a slot. */
export class ParavirtPatcher {
  readonly slots: PvSlots;
  private readonly nop: KernelOffset | undefined;
  private readonly identity64: KernelOffset | undefined;
  private readonly identity32: KernelOffset | undefined;
  /** native_patch() is in force (not under Xen PV). */
  private readonly native: boolean;
  private readonly old: boolean;
  private readonly names = new Map<KernelOffset, string>();

  constructor(private readonly context: SiteContext) {
    this.slots = new PvSlots(context);
    const { state, kernel } = context;
    this.nop = state.symbol("_paravirt_nop");
    this.identity64 = state.symbol("_paravirt_ident_64");
    this.identity32 = state.symbol("_paravirt_ident_32");
    this.old = state.symbol("pv_ops") === undefined;
    const nativePatch = state.symbol("native_patch");
    const patchSlot =
      state.symbol("pv_init_ops") ??
      (kernel.structures.has("struct paravirt_patch_template", "init.patch") ? state.symbol("pv_ops") : undefined);
    const inside = this.old ? 0 : (kernel.structures.find("struct paravirt_patch_template", "init.patch")?.offset ?? 0);
    this.native =
      nativePatch !== undefined &&
      patchSlot !== undefined &&
      this.slots.value(patchSlot + inside)?.target === nativePatch;
  }

  /** The slot of a site whose instruction does not name it: index into pv_ops (5.10 and newer). */
  slotOfType(type: number): KernelOffset | undefined {
    const base = this.context.state.symbol("pv_ops");
    return base === undefined ? undefined : base + type * 8;
  }

  /** "irq.irq_enable" of either era. */
  private member(slot: KernelOffset): string {
    let name = this.names.get(slot);
    if (name === undefined) {
      name = this.slots
        .name(slot)
        .replace(/^pv_ops\./, "")
        .replace(/^pv_(\w+)_ops\./, "$1.");
      this.names.set(slot, name);
    }
    return name;
  }

  /** The native instructions for the slot, padded, when native_patch() would inline them; undefined otherwise. */
  nativeBytes(slot: KernelOffset, length: number): Uint8Array | undefined {
    if (!this.native) return undefined;
    const member = this.member(slot);
    let code = NATIVE[member] ?? (this.old ? NATIVE_OLD[member] : undefined);
    const { state } = this.context;
    const target = this.slots.value(slot)?.target;
    if (member === "lock.queued_spin_unlock" && target !== undefined) {
      if (target === state.symbol("__raw_callee_save___native_queued_spin_unlock")) code = [0xc6, 0x07, 0x00];
    } else if (member === "lock.vcpu_is_preempted" && target !== undefined) {
      if (target === state.symbol("__raw_callee_save___native_vcpu_is_preempted")) code = [0x31, 0xc0];
    }
    return code === undefined || code.length > length ? undefined : this.pad(code, length);
  }

  /** The whole site: native code, NOPs, a move, a direct jump or a direct call. Undefined when the slot cannot be read. */
  bytes(slot: KernelOffset, at: KernelOffset, length: number): Uint8Array | undefined {
    const value = this.slots.value(slot);
    if (value === undefined) return undefined;
    const native = this.nativeBytes(slot, length);
    if (native !== undefined) return native;
    const { target } = value;
    if (target === undefined) {
      const bug = this.context.state.symbol("paravirt_BUG");
      return this.pad(bug === undefined ? [0x0f, 0x0b] : [...branch32(CALL, at, bug)], length);
    }
    if (target === this.nop) return this.pad([], length);
    if (target === this.identity64) return this.pad([0x48, 0x89, 0xf8], length);
    if (target === this.identity32) return this.pad([0x89, 0xf8], length);
    if (length < 5) return undefined;
    return this.pad([...branch32(JUMPS.has(this.member(slot)) ? JMP32 : CALL, at, target)], length);
  }

  private pad(code: readonly number[], length: number): Uint8Array {
    const out = new Uint8Array(length);
    out.set(code);
    fillNops(out, code.length, length - code.length, this.context.state.nops);
    return out;
  }
}
