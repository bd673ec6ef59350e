// Whether a CALL or JMP leads to something the kernel may call: the first byte of a function, a trampoline of ftrace, a
// direct trampoline of BPF.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ftraceRecords } from "../../kernel/records/ftrace-records.ts";
import { branchAt, branchEnd } from "../../x86/branch.ts";
import { INT3 } from "../../x86/encode.ts";

/** The target of a CALL, JMP or Jcc rel32 that fills the bytes, with INT3 behind it at most; undefined for anything else. */
export function branchTarget(bytes: Uint8Array, at: KernelOffset): KernelOffset | undefined {
  const branch = branchAt(bytes);
  if (branch === undefined || (branch.kind !== "call" && branch.kind !== "jmp" && branch.kind !== "jcc"))
    return undefined;
  if (bytes.subarray(branch.length).some((byte) => byte !== INT3)) return undefined;
  const target = branchEnd(branch, at);
  return target >= 0 && target < 2 ** 31 ? target : undefined;
}

/** True when the offset is the start of a function or of a known trampoline. */
export function isCallable(kernel: Kernel, target: KernelOffset): boolean {
  if (kernel.allSymbols.at(fromKernelOffset(target)).some((symbol) => /^[tTwW]$/.test(symbol.type))) return true;
  const records = ftraceRecords(kernel, []);
  if (records === undefined) return false;
  return [...records.ops, ...records.leaving].some((ops) => toKernelOffset(ops.trampoline) === target);
}
