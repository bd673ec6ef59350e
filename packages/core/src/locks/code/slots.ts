// The slots through which a kernel takes and releases spinlocks: members of pv_lock_ops (2.6.27 to 4.19), pv_ops.lock
// (4.20), pv_ops_lock (7.x), and the static calls that replace some of them (7.3).

import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import type { Implementation, LockRole } from "../types.ts";
import type { Implementations } from "./implementation.ts";

const ROLES: Readonly<Record<string, LockRole>> = {
  spin_is_locked: "test",
  spin_is_contended: "test",
  spin_lock: "lock",
  spin_lock_flags: "lock",
  spin_trylock: "trylock",
  spin_unlock: "unlock",
  lock_spinning: "wait",
  unlock_kick: "kick",
  queued_spin_lock_slowpath: "lock",
  queued_spin_unlock: "unlock",
  wait: "wait",
  kick: "kick",
  vcpu_is_preempted: "preempted",
};

// Members of struct pv_lock_ops in order, for kernels that tell no layout: whole spinlocks, paravirt tickets, queued ones.
const WHOLE = ["spin_is_locked", "spin_is_contended", "spin_lock", "spin_lock_flags", "spin_trylock", "spin_unlock"];
const TICKETS = ["lock_spinning", "unlock_kick"];
const QUEUED = ["queued_spin_lock_slowpath", "queued_spin_unlock", "wait", "kick", "vcpu_is_preempted"];

export interface LockSlot {
  /** "pv_lock_ops", "pv_ops.lock", "pv_ops_lock", "static call" */
  readonly group: string;
  /** "pv_ops.lock.queued_spin_unlock" */
  readonly name: string;
  readonly member: string;
  readonly role: LockRole;
  readonly offset: KernelOffset;
  /** A static call's key rather than a member that is called through. */
  readonly staticCall: boolean;
  /** The value now; undefined when its page is not in the dump. */
  readonly value: bigint | undefined;
  /** The function now; undefined for NULL or what lies outside the kernel's 2 GiB. */
  readonly target: KernelOffset | undefined;
  /** The function's name, "NULL", or "not in the dump". */
  readonly symbol: string;
  readonly implementation: Implementation | undefined;
}

/** All lock slots of this kernel; none without CONFIG_PARAVIRT_SPINLOCKS. */
export function readLockSlots(kernel: Kernel, implementations: Implementations): LockSlot[] {
  const out: LockSlot[] = [];
  const add = (group: string, member: string, address: bigint, staticCall: boolean): void => {
    const offset = toKernelOffset(address);
    const role = ROLES[member];
    if (offset === undefined || role === undefined) return;
    const bytes = kernel.memory.tryRead(fromKernelOffset(offset), 8);
    const value = bytes && getU64(bytes, 0);
    const target = value === undefined || value === 0n ? undefined : toKernelOffset(value);
    const symbol =
      value === undefined
        ? "not in the dump"
        : value === 0n
          ? "NULL"
          : target === undefined
            ? `0x${value.toString(16)}`
            : implementations.nameOf(target);
    const implementation = target === undefined ? undefined : implementations.of(target, role);
    const name = staticCall ? `static call ${member}` : `${group}.${member}`;
    out.push({ group, name, member, role, offset, staticCall, value, target, symbol, implementation });
  };
  for (const { group, base } of structures(kernel)) {
    for (const { member, offset } of membersOf(kernel, base)) add(group, member, base + BigInt(offset), false);
  }
  const func = kernel.structures.find("struct static_call_key", "func")?.offset ?? 0;
  for (const member of ["queued_spin_lock_slowpath", "queued_spin_unlock"]) {
    const key = kernel.find(`__SCK__${member}`) ?? kernel.find(`__SCK__pv_${member}`);
    if (key !== undefined) add("static call", member, key + BigInt(func), true);
  }
  return out.map((slot) => withSibling(slot, out, implementations));
}

/**
 * A byte store of 0 releases a byte lock as well as a native queued one. Where only the code tells, the function that takes
 * locks through the same structure decides; without a verdict on that one there is none on the unlock.
 */
function withSibling(slot: LockSlot, all: readonly LockSlot[], implementations: Implementations): LockSlot {
  const own = slot.implementation;
  if (slot.role !== "unlock" || slot.target === undefined || own?.evidence !== "code" || own.family !== "queued")
    return slot;
  const taker = all.find((each) => each.role === "lock" && each.group === slot.group);
  const family = taker?.implementation?.family ?? "unknown";
  if (family === "queued" || family === "none") return slot;
  const told = family === "byte" ? "byte" : "unknown";
  return { ...slot, implementation: implementations.adopt(slot.target, slot.role, told) };
}

function structures(kernel: Kernel): { group: string; base: bigint }[] {
  const own = kernel.find("pv_ops_lock");
  if (own !== undefined) return [{ group: "pv_ops_lock", base: own }];
  const old = kernel.find("pv_lock_ops");
  if (old !== undefined) return [{ group: "pv_lock_ops", base: old }];
  const all = kernel.find("pv_ops");
  const lock = kernel.structures.find("struct paravirt_patch_template", "lock");
  return all === undefined || lock === undefined ? [] : [{ group: "pv_ops.lock", base: all + BigInt(lock.offset) }];
}

function membersOf(kernel: Kernel, base: bigint): { member: string; offset: number }[] {
  const era = eraOf(kernel);
  const told = kernel.types.members("struct pv_lock_ops") ?? [];
  // A layout that was told by the shape of other structures may be another era's.
  const fitting = era === undefined || told.some(({ name }) => era.includes(name));
  if (told.length > 0 && fitting) return told.map(({ name, offset }) => ({ member: name, offset }));
  if (era !== undefined) return era.map((member, i) => ({ member, offset: i * 8 }));
  const start = toKernelOffset(base);
  const first = start === undefined ? undefined : kernel.memory.tryRead(fromKernelOffset(start), 48);
  if (first === undefined) return [];
  const view = new DataView(first.buffer, first.byteOffset, 48);
  const names = Array.from({ length: 6 }, (_, i) => {
    const target = toKernelOffset(view.getBigUint64(i * 8, true));
    return target === undefined ? "" : (kernel.symbols.at(fromKernelOffset(target))[0]?.name ?? "");
  });
  // Each era's functions carry their member's name; the best fit decides. A kernel without queued locks has no slots of theirs.
  const eras = [WHOLE, TICKETS];
  const fits = eras.map((order) => order.filter((member, i) => names[i].includes(member)).length);
  const best = Math.max(...fits);
  const order = best === 0 ? [] : eras[fits.indexOf(best)];
  return order.map((member, i) => ({ member, offset: i * 8 }));
}

/** The members of a kernel whose functions or switches tell its era; undefined when they do not. */
function eraOf(kernel: Kernel): readonly string[] | undefined {
  const has = (...names: string[]): boolean => names.some((name) => kernel.find(name) !== undefined);
  if (has("native_queued_spin_lock_slowpath", "queued_spin_lock_slowpath")) return QUEUED;
  // arch/x86/kernel/paravirt-spinlocks.c and asm/spinlock.h, 3.12 to 4.1: the switch and the slow path of paravirt tickets
  return has("paravirt_ticketlocks_enabled", "__ticket_unlock_slowpath") ? TICKETS : undefined;
}
