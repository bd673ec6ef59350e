// Every place in the audited code that goes through a lock slot, and what it runs in the dump's own bytes.
import type { KernelOffset } from "../../bytes/brand.ts";
import { fromKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { findTable } from "../../sites/base/context.ts";
import { decodeIndirect } from "../../sites/base/indirect-call.ts";
import { getI32 } from "../../x86/encode.ts";
import { isNops } from "../../x86/equivalence.ts";
import type { AuditedObject, Implementation } from "../types.ts";
import { callTarget, type Implementations } from "./implementation.ts";
import type { LockSlot } from "./slots.ts";

export interface LockSite {
  readonly object: string;
  readonly at: KernelOffset;
  readonly length: number;
  readonly slot: LockSlot;
  /** "call": a direct call or jump; "slot": still an indirect one, so that the slot decides; "inlined": native code */
  readonly how: "call" | "inlined" | "slot" | "none" | "absent";
  /** where the call goes */
  readonly target: KernelOffset | undefined;
  /** What runs there now; undefined when the bytes are not in the dump or none of a site's forms. */
  readonly implementation: Implementation | undefined;
}

/** The sites of one object, ascending by address. */
export function lockSitesOf(
  kernel: Kernel,
  object: AuditedObject,
  slots: readonly LockSlot[],
  implementations: Implementations,
): LockSite[] {
  const byOffset = new Map(slots.map((slot) => [slot.offset, slot]));
  const out = new Map<KernelOffset, LockSite>();
  const { space } = object.replayed;
  const padding = countingPadding(kernel);
  const add = (at: KernelOffset, length: number, slot: LockSlot): void => {
    if (out.has(at)) return;
    const region = space.find(at, length);
    if (region === undefined || !region.audited) return;
    const held = object.found.get(region);
    if (held === undefined) return;
    const from = at - region.start;
    const absent = held.absent.some((gap) => from < gap.offset + gap.length && from + length > gap.offset);
    out.set(at, {
      object: object.name,
      at,
      length,
      slot,
      ...(absent ? ABSENT : running(held.bytes.subarray(from, from + length), at, slot, implementations, padding)),
    });
  };
  for (const list of object.replayed.sites) {
    if (list.mechanism !== "paravirt" && list.mechanism !== "alternatives") continue;
    for (let i = 0; i < list.offsets.length; i++) {
      const length = list.lengths[i];
      if (length < 6) continue;
      const at = list.offsets[i];
      const built = space.readBuilt(at, length);
      if (built === undefined || built[0] !== 0xff) continue;
      const branch = decodeIndirect(built, at);
      const slot = branch === undefined ? undefined : byOffset.get(branch.slot);
      if (slot !== undefined) add(at, length, slot);
    }
  }
  if (slots.some((slot) => slot.staticCall)) {
    for (const { at, key } of staticCallSites(kernel, object)) {
      const slot = slots.find((each) => each.staticCall && key <= each.offset && each.offset < key + 16);
      if (slot !== undefined) add(at, 5, slot);
    }
  }
  return [...out.values()].sort((a, b) => a.at - b.at);
}

/** With call depth tracking a call enters a function through the counting sequence in front of it (callthunks.c, 6.2). */
export function countingPadding(kernel: Kernel): number {
  const start = kernel.find("skl_call_thunk_template");
  const end = kernel.find("skl_call_thunk_tail");
  return start === undefined || end === undefined || end <= start || end - start > 64n ? 0 : Number(end - start);
}

const ABSENT = { how: "absent", target: undefined, implementation: undefined } as const;

/** What the bytes of a site do. */
export function running(
  bytes: Uint8Array,
  at: KernelOffset,
  slot: LockSlot,
  implementations: Implementations,
  padding = 0,
): Pick<LockSite, "how" | "target" | "implementation"> {
  const call = callTarget(bytes, at);
  if (call !== undefined) {
    const target = padding > 0 && call.target + padding === slot.target ? slot.target : call.target;
    return { how: "call", target, implementation: implementations.of(target, slot.role) };
  }
  const branch = decodeIndirect(bytes, at);
  if (branch !== undefined) return { how: "slot", target: slot.target, implementation: slot.implementation };
  const inlined = implementations.inlined(bytes, slot.role);
  if (inlined !== undefined) return { how: "inlined", target: undefined, implementation: inlined };
  return { how: isNops(bytes) ? "inlined" : "none", target: undefined, implementation: undefined };
}

/** struct static_call_site {s32 addr; s32 key | flags}. A module may name the trampoline instead of the key. */
function staticCallSites(kernel: Kernel, object: AuditedObject): { at: KernelOffset; key: KernelOffset }[] {
  const table = findTable(
    object.replayed.object,
    ".static_call_sites",
    "__start_static_call_sites",
    "__stop_static_call_sites",
  );
  if (table === undefined) return [];
  const out: { at: KernelOffset; key: KernelOffset }[] = [];
  const named = new Map<KernelOffset, KernelOffset>();
  for (const member of ["queued_spin_lock_slowpath", "queued_spin_unlock"]) {
    const key = kernel.find(`__SCK__${member}`);
    const trampoline = kernel.find(`__SCT__${member}`);
    if (key === undefined) continue;
    named.set(Number(key - fromKernelOffset(0)), Number(key - fromKernelOffset(0)));
    if (trampoline !== undefined)
      named.set(Number(trampoline - fromKernelOffset(0)), Number(key - fromKernelOffset(0)));
  }
  for (let i = 0; i + 8 <= table.bytes.length; i += 8) {
    const at = table.start + i + getI32(table.bytes, i);
    const flagged = table.start + i + 4 + getI32(table.bytes, i + 4);
    const key = named.get(flagged - (flagged & 3));
    if (key !== undefined) out.push({ at, key });
  }
  return out;
}
