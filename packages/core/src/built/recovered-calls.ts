// Lock calls without an image: where apply_paravirt() turned `call *slot` into `call function` it left a NOP that no
// compiler puts there, and the function is one that only this slot ever held. From both the indirect call that was
// built follows, and with it the site. Sites that became native instructions or NOPs are not recognised.
import { type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { getU64 } from "../kernel/layouts/little-endian.ts";
import type { BuiltSection } from "./object.ts";

/** Variable and type that hold the lock slots: up to 4.19, up to 7.0, since. */
const HOLDERS: readonly (readonly [variable: string, type: string, path: string])[] = [
  ["pv_lock_ops", "struct pv_lock_ops", ""],
  ["pv_ops", "struct paravirt_patch_template", "lock."],
  ["pv_ops_lock", "struct pv_lock_ops", ""],
];
const MEMBERS = [
  ...["spin_is_locked", "spin_is_contended", "spin_lock", "spin_lock_flags", "spin_trylock", "spin_unlock"],
  ...["lock_spinning", "unlock_kick", "queued_spin_lock_slowpath", "queued_spin_unlock"],
];
/** What the functions of a slot are called in front of its name: "__ticket_", "xen_", "__raw_callee_save___pv_". */
const PREFIXES = [
  ...["__ticket_", "__byte_", "default_", "xen_", "kvm_", "native_", "__pv_"],
  ...["__raw_callee_save_xen_", "__raw_callee_save_kvm_", "__raw_callee_save___native_", "__raw_callee_save___pv_"],
];

const CALL = 0xe8;
const NOP = 0x90;
const PREFIX_66 = 0x66;
const ENTRY = 16;
/** CLBR_ANY: a site that kept registers would not have become a call. */
const CLOBBERS = 0x1ff;

interface Slot {
  readonly offset: KernelOffset;
  readonly index: number;
}

/** Every function that some lock slot holds or may have held → the slot. */
function functionsOfSlots(kernel: Kernel): Map<KernelOffset, Slot> {
  const out = new Map<KernelOffset, Slot>();
  for (const [variable, type, path] of HOLDERS) {
    const base = kernel.find(variable);
    if (base === undefined) continue;
    MEMBERS.forEach((member, index) => {
      const found = kernel.structures.find(type, path + member);
      const offset = found && toKernelOffset(base + BigInt(found.offset));
      if (found === undefined || offset === undefined) return;
      const slot = { offset, index };
      const bytes = kernel.memory.tryRead((base + BigInt(found.offset)) as typeof base, 8);
      const names = PREFIXES.map((prefix) => kernel.find(prefix + member));
      for (const address of [bytes && getU64(bytes, 0), ...names]) {
        const target = address === undefined ? undefined : toKernelOffset(address);
        // _paravirt_nop and the like stand in several slots
        const shared =
          target !== undefined && kernel.symbols.at(address as typeof base).some((s) => /nop/.test(s.name));
        if (target !== undefined && target > 0 && !shared && !out.has(target)) out.set(target, slot);
      }
    });
  }
  return out;
}

export interface RecoveredCalls {
  /** The text with the indirect calls that were built. */
  readonly text: BuiltSection;
  /** A table of these sites, as .parainstructions has them. */
  readonly table: BuiltSection;
}

/** @param text the bytes found in the dump */
export function recoverLockCalls(kernel: Kernel, text: BuiltSection): RecoveredCalls | undefined {
  const functions = functionsOfSlots(kernel);
  if (functions.size === 0) return undefined;
  const { bytes, start } = text;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const sites: { at: number; length: number; slot: Slot }[] = [];
  for (let at = bytes.indexOf(CALL); at >= 0 && at + 6 <= bytes.length; at = bytes.indexOf(CALL, at + 1)) {
    const slot = functions.get(start + at + 5 + view.getInt32(at + 1, true));
    if (slot === undefined) continue;
    if (bytes[at + 5] === NOP) sites.push({ at, length: 6, slot });
    else if (bytes[at + 5] === PREFIX_66 && bytes[at + 6] === NOP) sites.push({ at, length: 7, slot });
  }
  if (sites.length === 0) return undefined;
  const built = bytes.slice();
  const out = new DataView(built.buffer);
  const table = new DataView(new ArrayBuffer(sites.length * ENTRY));
  sites.forEach(({ at, length, slot }, i) => {
    // call *slot (ff 14 25 abs32) or call *slot(%rip) (ff 15 disp32)
    if (length === 7) {
      built.set([0xff, 0x14, 0x25], at);
      out.setInt32(at + 3, slot.offset - 2 ** 31, true);
    } else {
      built.set([0xff, 0x15], at);
      out.setInt32(at + 2, slot.offset - (start + at + 6), true);
    }
    table.setBigUint64(i * ENTRY, 0xffffffff80000000n + BigInt(start + at), true);
    table.setUint8(i * ENTRY + 8, slot.index);
    table.setUint8(i * ENTRY + 9, length);
    table.setUint16(i * ENTRY + 10, CLOBBERS, true);
  });
  return {
    text: { ...text, bytes: built },
    table: {
      name: "calls of lock functions, padded as patching does",
      start: 0 as KernelOffset,
      bytes: new Uint8Array(table.buffer),
      executable: false,
      kept: false,
    },
  };
}
