// Which implementation of a lock a function is: by its symbol, else, through thunks and jumps, by what its code does to
// the lock word.

import { formatAddress, fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { placeOf, placeText } from "../../symbols/place.ts";
import { CALL, hexBytes, JMP8, JMP32, rel32Target } from "../../x86/encode.ts";
import { isNops } from "../../x86/equivalence.ts";
import type { Implementation, LockFamily, LockRole } from "../types.ts";
import { takes } from "../types.ts";
import { type CodeEffects, codeEffects } from "./code-effects.ts";
import { functionBytes } from "./function-bytes.ts";

const NAMES: Readonly<Record<LockFamily, string>> = {
  ticket: "ticket",
  byte: "byte lock",
  queued: "native queued",
  "pv-queued": "paravirt queued",
  none: "nothing",
  unknown: "unknown",
};

/** Symbols without `__raw_callee_save_` and leading underscores, and what they stand for. */
const SYMBOLS: readonly (readonly [RegExp, LockFamily, Implementation["hypervisor"]?])[] = [
  // arch/x86/include/asm/spinlock.h, 2.6.28 to 4.1
  [/^ticket_spin_(lock|trylock|unlock|is_locked|is_contended)$/, "ticket"],
  [/^byte_spin_(lock|trylock|unlock|is_locked|is_contended)$/, "byte"],
  // arch/x86/xen/spinlock.c, 2.6.27 to 3.11
  [/^xen_spin_(lock|lock_flags|lock_slow|trylock|unlock|unlock_slow|is_locked|is_contended)$/, "byte", "Xen"],
  // kernel/locking/qspinlock.c, 4.2 and newer
  [/^(native_)?queued_spin_(lock_slowpath|unlock)$/, "queued"],
  [/^pv_queued_spin_(lock_slowpath|unlock|unlock_slowpath)$/, "pv-queued"],
  // Sleeping and waking of paravirt ticket locks (3.12 to 4.1) and of paravirt queued locks.
  [/^kvm_(lock_spinning|unlock_kick)$/, "ticket", "KVM"],
  [/^xen_(lock_spinning|unlock_kick)$/, "ticket", "Xen"],
  [/^kvm_(wait|kick_cpu)$/, "pv-queued", "KVM"],
  [/^xen_qlock_(wait|kick)$/, "pv-queued", "Xen"],
  [/^hv_qlock_(wait|kick)$/, "pv-queued", "Hyper-V"],
  [/^(paravirt_nop|nop_func|x86_nop|ticket_lock_spinning|ticket_unlock_kick)$/, "none"],
];

/** Longest function that is looked at: __pv_queued_spin_lock_slowpath has about 1,000 bytes. */
const MAX_FUNCTION = 4096;
/** Thunks and jumps that are followed. */
const MAX_DEPTH = 6;

/** Tells implementations, each function once. */
export class Implementations {
  private readonly known = new Map<string, Implementation>();
  private readonly inlinedCode = new Map<string, Implementation | null>();
  /** Kernels of 4.2 and newer have no other native spinlock than the queued one. */
  private readonly queuedEra: boolean;

  constructor(private readonly kernel: Kernel) {
    this.queuedEra =
      kernel.find("native_queued_spin_lock_slowpath") !== undefined ||
      kernel.find("queued_spin_lock_slowpath") !== undefined;
  }

  /** The implementation of the function at `target`, which serves in `role`. */
  of(target: KernelOffset, role: LockRole): Implementation {
    const key = `${target}|${takes(role) ? "lock" : role}`;
    let found = this.known.get(key);
    if (found === undefined) {
      found = this.resolve(target, role, 0) ?? {
        family: "unknown",
        name: NAMES.unknown,
        code: this.nameOf(target),
        address: target,
        evidence: "code",
      };
      this.known.set(key, found);
    }
    return found;
  }

  /** Settles the family of a function whose code alone leaves it open. */
  adopt(target: KernelOffset, role: LockRole, family: LockFamily): Implementation {
    const adopted = { ...this.of(target, role), family, name: NAMES[family] };
    this.known.set(`${target}|${takes(role) ? "lock" : role}`, adopted);
    return adopted;
  }

  /** The implementation of code that was written into the site itself; undefined when it is none. */
  inlined(bytes: Uint8Array, role: LockRole): Implementation | undefined {
    if ((role === "wait" || role === "kick") && isNops(bytes)) {
      return { family: "none", name: NAMES.none, code: "NOP", evidence: "inlined code" };
    }
    // Thousands of sites hold the same few bytes, and a decoder is a trip into WebAssembly.
    const key = `${role} ${hexBytes(bytes)}`;
    let found = this.inlinedCode.get(key);
    if (found === undefined) {
      const { effects } = codeEffects(bytes, 0n);
      const family = this.familyOf({ effects }, role);
      found =
        family === undefined ? null : { family, name: NAMES[family], code: "inlined code", evidence: "inlined code" };
      this.inlinedCode.set(key, found);
    }
    return found ?? undefined;
  }

  /** Name of the function that starts at the offset, or "name+0x10", or its address. */
  nameOf(offset: KernelOffset): string {
    const address = fromKernelOffset(offset);
    const { symbols } = this.kernel;
    const names = symbols.at(address);
    if (names.length > 0) return names[0].name;
    const place = placeOf(this.kernel.allSymbols, address);
    return place === undefined ? formatAddress(address) : placeText({ ...place, module: null });
  }

  private bySymbol(target: KernelOffset): Implementation | undefined {
    const address = fromKernelOffset(target);
    let symbols = this.kernel.symbols.at(address);
    if (symbols.length === 0) symbols = this.kernel.allSymbols.at(address);
    for (const symbol of symbols) {
      const bare = symbol.name.replace(/^__raw_callee_save_/, "").replace(/^_+/, "");
      for (const [pattern, family, hypervisor] of SYMBOLS) {
        if (!pattern.test(bare)) continue;
        const xenByte = family === "byte" && hypervisor === "Xen";
        return {
          family,
          hypervisor,
          name: xenByte ? "Xen byte lock" : NAMES[family],
          code: symbol.name,
          address: target,
          evidence: "symbol",
        };
      }
    }
    return undefined;
  }

  private resolve(target: KernelOffset, role: LockRole, depth: number): Implementation | undefined {
    const named = this.bySymbol(target);
    if (named !== undefined || depth >= MAX_DEPTH) return named;
    const bytes = this.functionBytes(target);
    if (bytes === undefined) return undefined;
    // A trampoline or a function that is nothing but a jump.
    if (bytes[0] === JMP32 && bytes.length >= 5)
      return this.resolve(rel32Target(bytes, 1, target + 5), role, depth + 1);
    if (bytes[0] === JMP8 && bytes.length >= 2) {
      return this.resolve(target + 2 + ((bytes[1] << 24) >> 24), role, depth + 1);
    }
    const effects = codeEffects(bytes, fromKernelOffset(target));
    const own = this.familyOf(effects, role);
    // Nothing but a ticket lock takes tickets; what it calls to wait and to wake says nothing more about the word.
    if (own === "ticket") return this.byCode(own, target);
    // A thunk saves registers and calls; a fast path hands on to the slow one, which tells more than itself.
    for (const call of effects.calls) {
      if (!call.handsOn) continue;
      const deeper = this.resolve(call.target, role, depth + 1);
      if (deeper !== undefined && deeper.family !== "none") return deeper;
    }
    for (const call of effects.slotCalls) {
      if (!call.handsOn) continue;
      const bytes = this.kernel.memory.tryRead(fromKernelOffset(call.slot), 8);
      const value = bytes && getU64(bytes, 0);
      const through = value === undefined ? undefined : toKernelOffset(value);
      const deeper = through === undefined ? undefined : this.resolve(through, role, depth + 1);
      if (deeper !== undefined && deeper.family !== "none") return deeper;
    }
    return own && this.byCode(own, target);
  }

  private byCode(family: LockFamily, target: KernelOffset): Implementation {
    return { family, name: NAMES[family], code: this.nameOf(target), address: target, evidence: "code" };
  }

  /** The function's bytes in the dump, to the next symbol. */
  private functionBytes(target: KernelOffset): Uint8Array | undefined {
    const address = fromKernelOffset(target);
    const near = this.kernel.allSymbols.nearest(address);
    const size = Math.min(MAX_FUNCTION, near?.size === undefined ? 256 : near.size - near.offset);
    return functionBytes(this.kernel, address, size);
  }

  private familyOf({ effects }: Pick<CodeEffects, "effects">, role: LockRole): LockFamily | undefined {
    const has = (operation: string, width: number, offset = 0): boolean =>
      effects.some((each) => each.operation === operation && each.width === width && each.offset === offset);
    if (takes(role)) {
      // u8 halves: lock xadd %ax; u16 halves: lock xadd %eax
      if (has("xadd", 2) || has("xadd", 4)) return "ticket";
      // The tail of a queue is exchanged by itself; only paravirt waiters exchange the locked byte (_Q_SLOW_VAL).
      if (has("xchg", 2, 2)) return has("xchg", 1) ? "pv-queued" : "queued";
      if (has("xchg", 1) || has("dec", 1)) return "byte";
      if (has("cmpxchg", 4) && this.queuedEra) return "queued";
      return undefined;
    }
    if (role !== "unlock") return undefined;
    if (has("cmpxchg", 1)) return "pv-queued";
    if (["inc", "add"].some((operation) => has(operation, 1) || has(operation, 2))) return "ticket";
    const clears = effects.some(
      (each) => each.operation === "store" && each.width === 1 && each.offset === 0 && each.immediate === 0n,
    );
    if (!clears) return undefined;
    // Xen's looks at the spinners behind the byte.
    return effects.some((each) => each.offset === 2) || !this.queuedEra ? "byte" : "queued";
  }
}

/** CALL target of a site's bytes, padding before (CS prefixes) passed over. */
export function callTarget(bytes: Uint8Array, at: KernelOffset): { target: KernelOffset; jump: boolean } | undefined {
  let i = 0;
  while (i < bytes.length && bytes[i] === 0x2e) i++;
  if ((bytes[i] !== CALL && bytes[i] !== JMP32) || i + 5 > bytes.length) return undefined;
  const target = rel32Target(bytes, i + 1, at + i + 5);
  return target >= 0 && target < 2 ** 31 ? { target, jump: bytes[i] === JMP32 } : undefined;
}
