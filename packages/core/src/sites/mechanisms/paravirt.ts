// Paravirt calls up to 6.7: .parainstructions lists indirect calls through pv_ops (pv_*_ops before 4.20), which
// apply_paravirt() turns into direct calls, native instructions or NOPs (arch/x86/kernel/alternative.c, paravirt.c,
// paravirt_patch.c). Since 6.8 the same sites are alternatives.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { branch32, CALL, hexBytes, JMP32 } from "../../x86/encode.ts";
import { fillNops } from "../../x86/nops.ts";
import { findTable, type Mechanism, nameOf, type SiteContext } from "../base/context.ts";
import { decodeSavedIndirect } from "../base/indirect-call.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { JUMPS, NATIVE, NATIVE_LOCKS, NATIVE_OLD } from "../base/native-code.ts";
import { CLBR_ANY, PvTemplate, readPvSites } from "../base/pv-sites.ts";
import { PvSlots } from "../base/pv-slots.ts";
import { type LegalForm, SiteArrays } from "../base/site.ts";

export const applyParavirt: Mechanism = (context) => {
  const table = findTable(context.object, ".parainstructions", "__parainstructions", "__parainstructions_end");
  if (table === undefined) return undefined;
  const { space } = context;
  const id = mechanismId("paravirt");
  const listed = readPvSites(table);
  const entries = listed.count;
  // The one structure pv_ops and entries without clobbers came in the same release, 4.20; what lies there now is padding.
  const clobbers = context.state.symbol("pv_ops") === undefined ? listed.clobbers : undefined;
  const sites = new SiteArrays(entries);
  const slotOf = new Float64Array(entries).fill(-1);
  const patcher = new ParavirtPatcher(context);
  const template = new PvTemplate(listed, space, (slot) => {
    const near = context.kernel.symbols.nearest(fromKernelOffset(slot));
    return near && toKernelOffset(near.symbol.address);
  });
  for (let i = 0; i < entries; i++) {
    const at = listed.offsets[i];
    const length = listed.lengths[i];
    if (at < 0) {
      sites.add(0, 0);
      continue;
    }
    sites.add(at, length);
    const built = space.readBuilt(at, length);
    if (built === undefined) continue;
    const type = listed.types[i];
    const slot = decodeSavedIndirect(built, at)?.slot ?? patcher.slotOfType(type) ?? template.slot(type);
    if (slot === undefined) {
      context.problems.push(`paravirt site ${nameOf(context, at)}: ${hexBytes(built)} names no slot`);
      continue;
    }
    slotOf[i] = slot;
    if (context.state.noReplaceParavirt) continue;
    const bytes = patcher.bytes(slot, at, built, clobbers?.[i]);
    if (bytes === undefined) space.forget(at, length, "paravirt", `slot ${patcher.slots.name(slot)}`);
    else if (bytes !== built) space.write(at, bytes, id);
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

  /**
   * The native instructions that native_patch() inlines for the slot; undefined when it inlines none.
   * @param ever also those that it inlines only while the slot holds the native function, which it may have done
   */
  private nativeCode(slot: KernelOffset, ever = false): readonly number[] | undefined {
    if (!this.native) return undefined;
    const member = this.member(slot);
    const locking = NATIVE_LOCKS[member];
    if (locking !== undefined) {
      const target = ever ? undefined : this.slots.value(slot)?.target;
      if (ever || (target !== undefined && target === this.context.state.symbol(locking.function))) return locking.code;
    }
    if (this.old && !this.hasNative(member)) return undefined;
    return NATIVE[member] ?? (this.old ? NATIVE_OLD[member] : undefined);
  }

  /**
   * Up to 4.19 each instruction that native_patch() inlines stands between two labels (DEF_NATIVE); a member without them
   * is called: iret since 3.16, for ESPFIX (7209a75d2009).
   */
  private hasNative(member: string): boolean {
    const { state } = this.context;
    if (state.symbol("start_pv_irq_ops_irq_disable") === undefined) return true;
    const [group, name] = member.split(".");
    return state.symbol(`start_pv_${group}_ops_${name}`) !== undefined;
  }

  /** The native instructions that the slot's sites may hold, padded, where they fit. */
  nativeBytes(slot: KernelOffset, length: number): Uint8Array | undefined {
    const code = this.nativeCode(slot, true);
    return code === undefined || code.length > length ? undefined : this.pad(code, length);
  }

  /**
   * The whole site: native code, NOPs, a move, a direct jump or a direct call; as built where none of them fits.
   * Undefined when the slot cannot be read.
   * @param clobbers registers that the site gives up, where its table tells them
   */
  bytes(slot: KernelOffset, at: KernelOffset, built: Uint8Array, clobbers?: number): Uint8Array | undefined {
    const value = this.slots.value(slot);
    if (value === undefined) return undefined;
    const { length } = built;
    const native = this.nativeCode(slot);
    // paravirt_patch_insns(): what does not fit leaves the site alone.
    if (native !== undefined) return native.length > length ? built : this.pad(native, length);
    const { target } = value;
    if (target === undefined) {
      const bug = this.context.state.symbol("paravirt_BUG");
      return this.pad(bug === undefined ? [0x0f, 0x0b] : [...branch32(CALL, at, bug)], length);
    }
    if (target === this.nop) return this.pad([], length);
    if (target === this.identity64) return this.pad([0x48, 0x89, 0xf8], length);
    if (target === this.identity32) return this.pad([0x89, 0xf8], length);
    if (length < 5) return built;
    if (JUMPS.has(this.member(slot))) return this.pad([...branch32(JMP32, at, target)], length);
    // paravirt_patch_call(): a function may use any register, which a site that wants some kept cannot allow.
    if (clobbers !== undefined && (CLBR_ANY & ~clobbers) !== 0) return built;
    return this.pad([...branch32(CALL, at, target)], length);
  }

  private pad(code: readonly number[], length: number): Uint8Array {
    const out = new Uint8Array(length);
    out.set(code);
    fillNops(out, code.length, length - code.length, this.context.state.nops);
    return out;
  }
}
