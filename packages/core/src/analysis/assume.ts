// `prove --assume slot=function`: what the kernel's own patching would have written into the slot's sites, had the slot held
// that function. The audit's replay is run over a kernel whose slot says so, and the sites of that slot are taken from it.

import { auditDump } from "../audit/audit.ts";
import { SiteIndex } from "../audit/site-index.ts";
import { fromKernelOffset, type KernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import type { CpuFeatures } from "../kernel/cpu-features.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { resolvePlace } from "../kernel/where.ts";
import { kernelWith } from "../kernel/with.ts";
import { Implementations } from "../locks/code/implementation.ts";
import { readLockSlots } from "../locks/code/slots.ts";
import type { AuditedObject } from "../locks/types.ts";
import { entryProblem } from "../prove/dump/entry-check.ts";
import { patchedKernel } from "../prove/dump/patched-kernel.ts";
import type { Preset } from "../prove/types.ts";
import { decodeIndirect } from "../sites/base/indirect-call.ts";
import type { Parts } from "./parts.ts";
import { UsageError } from "./refusals.ts";

/** One assumption, resolved. */
interface Assumption {
  readonly text: string;
  /** What is written: 8 bytes of a function pointer, 4 of a static key's count. */
  readonly preset: Preset;
  /** Where sites may say that their slot is: the pointer itself, or the key around it. */
  readonly slots: readonly bigint[];
  readonly target: VirtualAddress | undefined;
}

/** The bytes that the assumptions change, and what was done in words. */
export interface Assumed {
  readonly presets: readonly Preset[];
  readonly remarks: readonly string[];
}

const STRUCTURES: Readonly<Record<string, string>> = {
  pv_ops: "struct paravirt_patch_template",
  pv_lock_ops: "struct pv_lock_ops",
  pv_ops_lock: "struct pv_lock_ops",
};
const SWITCH: Readonly<Record<string, number>> = { on: 1, true: 1, "1": 1, off: 0, false: 0, "0": 0 };

/**
 * paravirt_set_cap() of arch/x86/kernel/paravirt.c, since 5.13 (4e6292114c74): where a slot holds another function than the
 * native one, the feature is set, and alternatives leave the call.
 */
const CAPABILITIES: readonly { readonly member: string; readonly native: string; readonly bit: number }[] = [
  { member: "queued_spin_unlock", native: "__raw_callee_save___native_queued_spin_unlock", bit: 8 * 32 + 20 },
  { member: "vcpu_is_preempted", native: "__raw_callee_save___native_vcpu_is_preempted", bit: 8 * 32 + 21 },
];

function littleEndian(value: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

/** "pv_lock_ops+0x28=__ticket_spin_unlock", "virt_spin_lock_key=off" */
function parse(kernel: Kernel, text: string): Assumption {
  const equals = text.indexOf("=");
  if (equals < 1)
    throw new UsageError(`--assume ${text}: write SLOT=FUNCTION`, "for example pv_lock_ops+0x28=__ticket_spin_unlock");
  const left = text.slice(0, equals);
  const right = text.slice(equals + 1);
  const on = SWITCH[right];
  if (on !== undefined) {
    const key = resolvePlace(kernel, left).address;
    return { text, preset: { address: key, bytes: littleEndian(BigInt(on), 4) }, slots: [key], target: undefined };
  }
  const { slot, also } = slotAddress(kernel, left);
  const target = resolvePlace(kernel, right).address;
  const problem = entryProblem(kernel, target, "function");
  if (problem !== undefined) throw new UsageError(`--assume ${text}: ${problem}`);
  return { text, preset: { address: slot, bytes: littleEndian(target, 8) }, slots: [slot, ...also], target };
}

/** symbol+0x28; pv_ops.lock.queued_spin_unlock by the kernel's own layouts; a lock slot's member or static call by its name. */
function slotAddress(kernel: Kernel, text: string): { slot: VirtualAddress; also: bigint[] } {
  const dot = text.indexOf(".");
  const symbol = dot < 0 ? text : text.slice(0, dot);
  const type = dot < 0 ? undefined : STRUCTURES[symbol];
  const base = kernel.find(symbol);
  if (type !== undefined && base !== undefined) {
    const path = text.slice(dot + 1);
    const member = kernel.structures.find(type, `${path}.func`) ?? kernel.structures.find(type, path);
    if (member !== undefined) return { slot: (base + BigInt(member.offset)) as VirtualAddress, also: [] };
  }
  // A bare member may be a function's name too (queued_spin_unlock is one in 5.10), but no function is a slot.
  const named = lockSlot(kernel, text);
  if (named !== undefined) return named;
  if (type !== undefined && base !== undefined)
    throw new UsageError(`--assume ${text}: ${type} has no member ${text.slice(dot + 1)}`);
  const place = resolvePlace(kernel, text).address;
  if (!text.startsWith("__SCK__")) return { slot: place, also: [] };
  const func = kernel.structures.find("struct static_call_key", "func")?.offset ?? 0;
  return { slot: (place + BigInt(func)) as VirtualAddress, also: [place] };
}

/** "pv_ops_lock.queued_spin_unlock", "queued_spin_unlock": the member is what counts, wherever this kernel keeps it. */
function lockSlot(kernel: Kernel, text: string): { slot: VirtualAddress; also: bigint[] } | undefined {
  const member = text.slice(text.lastIndexOf(".") + 1);
  const found = readLockSlots(kernel, new Implementations(kernel)).find((slot) => slot.member === member);
  if (found === undefined) return undefined;
  const func = kernel.structures.find("struct static_call_key", "func")?.offset ?? 0;
  const slot = fromKernelOffset(found.offset);
  return { slot, also: found.staticCall ? [slot - BigInt(func)] : [] };
}

/** The features that paravirt_set_cap() sets or clears with these slots. */
function featuresWith(kernel: Kernel, assumptions: readonly Assumption[]): CpuFeatures {
  const { features } = kernel;
  if (kernel.find("paravirt_set_cap") === undefined) return features;
  const changed = new Map<number, boolean>();
  for (const { member, native, bit } of CAPABILITIES) {
    const slot = lockSlot(kernel, member)?.slot;
    const assumed = assumptions.find(({ preset }) => preset.address === slot);
    if (assumed !== undefined) changed.set(bit, assumed.target !== kernel.find(native));
  }
  return { ...features, has: (bit) => changed.get(bit) ?? features.has(bit) };
}

/** Whether the site at `index` of a list follows one of the slots. */
function follows(
  object: AuditedObject,
  index: SiteIndex,
  at: KernelOffset,
  slots: ReadonlySet<bigint>,
): SiteSpan | undefined {
  const { space } = object.replayed;
  for (const hit of index.covering(at)) {
    const span = { start: hit.start, end: hit.start + hit.length };
    const told = hit.list.describe(hit.index).slot?.address;
    if (told !== undefined && slots.has(told)) return { ...span, slot: told };
    const built = space.readBuilt(hit.start, hit.length);
    const branch = built === undefined || built.length < 6 ? undefined : decodeIndirect(built, hit.start);
    const through = branch && fromKernelOffset(branch.slot);
    if (through !== undefined && slots.has(through)) return { ...span, slot: through };
  }
  return undefined;
}

interface SiteSpan {
  readonly slot: bigint;
  readonly start: KernelOffset;
  readonly end: KernelOffset;
}

/**
 * What the assumptions change, over all audited code. Sites of other slots stay as they are found, stale ones too: a repair
 * is tried alone.
 */
export async function assume(parts: Parts, texts: readonly string[]): Promise<Assumed> {
  const { kernel, options } = parts;
  const assumptions = texts.map((text) => parse(kernel, text));
  const presets: Preset[] = assumptions.map(({ preset }) => preset);
  const slots = new Set(assumptions.flatMap((each) => each.slots));
  const changed = kernelWith(patchedKernel(kernel, presets), { features: featuresWith(kernel, assumptions) });
  const audit = auditDump(changed, await parts.images(), { force: options.force });
  let sites = 0;
  const reached = new Set<bigint>();
  for (const object of audit.objects) {
    const index = new SiteIndex(object.replayed.sites);
    for (const [region, found] of object.found) {
      const { intended } = region;
      for (let i = 0; i < intended.length; i++) {
        if (intended[i] === found.bytes[i]) continue;
        const span = follows(object, index, region.start + i, slots);
        if (span === undefined) continue;
        reached.add(span.slot);
        const end = Math.min(span.end - region.start, intended.length);
        const from = Math.max(0, span.start - region.start);
        presets.push({ address: fromKernelOffset(region.start + from), bytes: intended.slice(from, end) });
        sites++;
        i = end - 1;
      }
    }
  }
  const unread = audit.notChecked.length === 0 ? "" : `; not looked at: ${listOf(audit.notChecked)}`;
  const remarks = [`${sites} site${sites === 1 ? "" : "s"} patched again for ${texts.join(", ")}${unread}`];
  for (const { text, slots: own } of assumptions) {
    if (own.some((slot) => reached.has(slot)) || hasSites(audit.objects, new Set(own))) continue;
    throw new UsageError(`--assume ${text}: no site that is patched follows that slot, so that nothing would change`);
  }
  return { presets, remarks };
}

/** Whether any site follows one of the slots, as it stands or not. */
function hasSites(objects: readonly AuditedObject[], slots: ReadonlySet<bigint>): boolean {
  return objects.some(({ replayed: { sites, space } }) =>
    sites.some((list) => {
      for (let i = 0; i < list.offsets.length; i++) {
        const told = list.describe(i).slot?.address;
        if (told !== undefined && slots.has(told)) return true;
        const built = list.lengths[i] < 6 ? undefined : space.readBuilt(list.offsets[i], list.lengths[i]);
        const branch = built && decodeIndirect(built, list.offsets[i]);
        if (branch !== undefined && slots.has(fromKernelOffset(branch.slot))) return true;
      }
      return false;
    }),
  );
}

function listOf(notChecked: readonly { readonly object: string }[]): string {
  const names = [...new Set(notChecked.map(({ object }) => object))];
  return names.length > 4 ? `${names.slice(0, 4).join(", ")} and ${names.length - 4} more` : names.join(", ");
}
