// Whether a CALL or JMP leads to something the kernel may call: the first byte of a function, a trampoline of ftrace, a
// direct trampoline of BPF.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ftraceRecords } from "../../kernel/records/ftrace-records.ts";
import { CALL, isJcc32, JMP32, rel32Target } from "../../x86/encode.ts";

/** The target of a CALL, JMP or Jcc rel32 that fills the bytes; undefined for anything else. */
export function branchTarget(bytes: Uint8Array, at: KernelOffset): KernelOffset | undefined {
  let index: number;
  if (bytes.length === 5 && (bytes[0] === CALL || bytes[0] === JMP32)) index = 1;
  else if (bytes.length === 6 && isJcc32(bytes, 0)) index = 2;
  else return undefined;
  const target = rel32Target(bytes, index, at + bytes.length);
  return target >= 0 && target < 2 ** 31 ? target : undefined;
}

/** True when the offset is the start of a function or of a known trampoline. */
export function isCallable(kernel: Kernel, target: KernelOffset): boolean {
  if (kernel.allSymbols.at(fromKernelOffset(target)).some((symbol) => /^[tTwW]$/.test(symbol.type))) return true;
  const records = ftraceRecords(kernel, []);
  if (records === undefined) return false;
  return [...records.ops, ...records.leaving].some((ops) => toKernelOffset(ops.trampoline) === target);
}
