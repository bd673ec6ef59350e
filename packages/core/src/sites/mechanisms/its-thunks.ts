// ITS thunks: for CPUs with Indirect Target Selection an unsafe indirect branch goes through `jmp *reg; int3` in a page of
// its own, allocated at patch time (its_allocate_thunk(), 6.15 and stable kernels since May 2025). The kernel keeps no
// lasting list of the core's pages, so the branch found in the dump is followed and its thunk checked by content.
import { fromKernelOffset, type KernelOffset } from "../../bytes/brand.ts";
import { branchAt, branchEnd } from "../../x86/branch.ts";
import type { SiteContext } from "../base/context.ts";
import { thunkBranch } from "../base/thunk-branch.ts";

/** True when `jmp *reg; int3` for this register stands at the offset, in the upper half of a cache line. */
export function isItsThunk(context: SiteContext, at: KernelOffset, register: number): boolean {
  const size = 3 + (register >> 3);
  if (((at + size - 2) & 0x20) === 0) return false;
  const bytes = context.kernel.memory.tryRead(fromKernelOffset(at), size);
  if (bytes === undefined) return false;
  let i = 0;
  if (register >= 8 && bytes[i++] !== 0x41) return false;
  return bytes[i] === 0xff && bytes[i + 1] === 0xe0 + (register & 7) && bytes[i + 2] === 0xcc;
}

/** UDB, JNE back to it: what a thunk for cfi=paranoid has in front of its branch; calls lead to the JNE. */
const PARANOID = [0xd6, 0x75, 0xfd] as const;

/** The same with UDB and JNE in front, entered at the JNE: every thunk of a kernel with cfi=paranoid is made so. */
function isParanoidThunk(context: SiteContext, at: KernelOffset, register: number): boolean {
  const start = context.kernel.memory.tryRead(fromKernelOffset(at - 1), PARANOID.length);
  return PARANOID.every((byte, i) => start?.[i] === byte) && isItsThunk(context, at + 2, register);
}

/**
 * The intended bytes of a site that needs an ITS thunk: its branch to the thunk that the found bytes name, when that is
 * a true thunk of its register; else to the static thunk array, which is the kernel's own fallback.
 */
export function itsThunkAt(
  context: SiteContext,
  site: { length: number; opcode: number; condition: number; register: number },
  at: KernelOffset,
): Uint8Array | undefined {
  const found = context.kernel.memory.tryRead(fromKernelOffset(at), site.length);
  const branch = found && branchAt(found);
  const isBranch = branch?.kind === "call" || branch?.kind === "jmp" || branch?.kind === "jcc";
  if (branch !== undefined && isBranch && branch.length === site.length) {
    const target = branchEnd(branch, at);
    const inside = target > 0 && target < 2 ** 31;
    if (inside && (isItsThunk(context, target, site.register) || isParanoidThunk(context, target, site.register))) {
      return thunkBranch(site, at, target);
    }
  }
  const array = context.state.symbol("__x86_indirect_its_thunk_array");
  return array === undefined ? undefined : thunkBranch(site, at, array + site.register * 32);
}

/** emit_paranoid_trampoline(): the same for the call of a paranoid caller, whose comparison ends in the thunk (6.15). */
export function paranoidThunkAt(
  context: SiteContext,
  site: { length: number; opcode: number; condition: number; register: number },
  at: KernelOffset,
): Uint8Array | undefined {
  const { memory } = context.kernel;
  const found = memory.tryRead(fromKernelOffset(at), site.length);
  const branch = found && branchAt(found);
  if (branch !== undefined && (branch.kind === "call" || branch.kind === "jmp") && branch.length === site.length) {
    const target = branchEnd(branch, at);
    const inside = target > 0 && target < 2 ** 31;
    if (inside && isParanoidThunk(context, target, site.register)) return thunkBranch(site, at, target);
  }
  const array = context.state.symbol("__x86_indirect_its_thunk_array");
  return array === undefined ? undefined : thunkBranch(site, at, array + site.register * 32 - 2);
}
