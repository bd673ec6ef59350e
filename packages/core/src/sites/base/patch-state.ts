// The kernel-wide state that patching followed, read once: NOPs, mitigations, thunks. What differs between releases is
// told by symbols and table contents.
import { type KernelOffset, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { INTEL_STYLE, K8_STYLE, type NopStyle, P6_STYLE, X86_STYLE } from "../../x86/nops.ts";

/** arch/x86/include/asm/cpufeatures.h: word 11 is Linux-defined and kept these numbers from 5.10.133 and 5.19 to 7.x. */
const X86_FEATURE_RETPOLINE = 11 * 32 + 12;
const X86_FEATURE_RETPOLINE_LFENCE = 11 * 32 + 13;
const X86_FEATURE_RETHUNK = 11 * 32 + 14;
const X86_FEATURE_CALL_DEPTH = 11 * 32 + 19;
/** Word 3, Linux-defined: the long NOPs work. */
const X86_FEATURE_NOPL = 3 * 32 + 20;
/** Word 3, "SMP kernel running on UP": set and cleared with the lock prefixes up to 3.7, which has uniproc_patched instead. */
const X86_FEATURE_UP = 3 * 32 + 9;

export interface PatchState {
  readonly nops: NopStyle;
  readonly retpoline: boolean;
  readonly retpolineLfence: boolean;
  readonly rethunk: boolean;
  readonly callDepth: boolean;
  /** INDIRECT_THUNK_ITS: indirect branches in the lower half of a cache line go through ITS thunks. */
  readonly itsIndirect: boolean;
  /** __x86_return_thunk: what compilers call. */
  readonly builtReturnThunk: KernelOffset | undefined;
  /** Value of x86_return_thunk (the built one where there is no such variable; undefined when it cannot be read). */
  readonly returnThunk: KernelOffset | undefined;
  readonly itsReturnThunk: KernelOffset | undefined;
  /** __x86_indirect_thunk_array, 32 bytes an entry. */
  readonly thunkArray: KernelOffset | undefined;
  /** SMP lock prefixes are turned into DS prefixes; not with noreplace-smp. */
  readonly uniproc: boolean;
  /** Booted with noreplace-paravirt: those sites stay as built. */
  readonly noReplaceParavirt: boolean;
  /** The symbol's offset, when the core has it. */
  symbol(name: string): KernelOffset | undefined;
}

/** `ideal_nops` points to one of the tables k8_nops, p6_nops, intel_nops up to 5.12; since then P6 only. */
function nopStyle(kernel: Kernel, problems: string[]): NopStyle {
  const ideal = kernel.find("ideal_nops");
  if (ideal !== undefined) {
    try {
      const table = kernel.memory.pointer(ideal);
      if (table === kernel.find("k8_nops")) return K8_STYLE;
      if (table === kernel.find("p6_nops")) return P6_STYLE;
      if (table === kernel.find("intel_nops")) return INTEL_STYLE;
      // Without symbols for the tables (no KALLSYMS_ALL), the first entries themselves tell: entry 5, byte 0.
      const five = kernel.memory.read(kernel.memory.pointer((table + 40n) as typeof table), 5);
      if (five[0] === 0x0f) return P6_STYLE;
      return five[0] === 0x66 ? K8_STYLE : INTEL_STYLE;
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`ideal_nops: ${error.message}; P6 NOPs are assumed`);
      return P6_STYLE;
    }
  }
  if (kernel.find("k8_nops") !== undefined || kernel.find("find_nop_table") !== undefined)
    return oldNopStyle(kernel, problems);
  // The flags member of alt_instr came with 6.3, the longer NOPs and jumped-over padding with 6.4 … 6.6.
  const size = kernel.types.sizeOf("struct alt_instr");
  // Without that type: the function came with the new NOPs (270a69c4485d); 7.x calls it text_poke_apply_relocation().
  const named = ["apply_relocation", "text_poke_apply_relocation"].some((name) => kernel.find(name) !== undefined);
  const flags = kernel.structures.has("struct alt_instr", "flags") || size === 14 || (size === undefined && named);
  return flags ? X86_STYLE : P6_STYLE;
}

/** find_nop_table() of 2.6.39 and older; the NOP for jump labels and ftrace was chosen apart. */
function oldNopStyle(kernel: Kernel, problems: string[]): NopStyle {
  const { features } = kernel;
  const style = features.vendorId === "GenuineIntel" && features.has(X86_FEATURE_NOPL) ? P6_STYLE : K8_STYLE;
  const five = kernel.find("ideal_nop5");
  const atomic5 = five && kernel.memory.tryRead(five, 5);
  if (atomic5 === undefined) {
    problems.push("ideal_nop5 is not in the dump; the 5-byte NOP is assumed");
    return style;
  }
  return { ...style, atomic5 };
}

/** Reads the state. What cannot be read is told in `problems`. */
export function readPatchState(kernel: Kernel, problems: string[]): PatchState {
  const symbol = (name: string): KernelOffset | undefined => {
    const address = kernel.find(name);
    return address === undefined ? undefined : toKernelOffset(address);
  };
  const { features } = kernel;
  const builtReturnThunk = symbol("__x86_return_thunk");
  let returnThunk = builtReturnThunk;
  const variable = kernel.find("x86_return_thunk");
  if (variable !== undefined) {
    try {
      returnThunk = toKernelOffset(kernel.memory.u64(variable));
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      returnThunk = undefined;
      problems.push(`x86_return_thunk: ${error.message}`);
    }
  }
  const itsReturnThunk = symbol("its_return_thunk");
  const retpoline = features.has(X86_FEATURE_RETPOLINE);
  const flag = (name: string): boolean | undefined => {
    const at = kernel.find(name);
    if (at === undefined || (kernel.initFreed && isInitMemory(kernel, at))) return undefined;
    try {
      return kernel.memory.u8(at) !== 0;
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`${name}: ${error.message}`);
      return undefined;
    }
  };
  const hasLockSwitch =
    kernel.find("alternatives_smp_switch") !== undefined || kernel.find("alternatives_enable_smp") !== undefined;
  const noReplaceSmp = flag("noreplace_smp") ?? false;
  return {
    nops: nopStyle(kernel, problems),
    retpoline,
    retpolineLfence: features.has(X86_FEATURE_RETPOLINE_LFENCE),
    rethunk: builtReturnThunk !== undefined && features.has(X86_FEATURE_RETHUNK),
    callDepth: symbol("__x86_indirect_call_thunk_array") !== undefined && features.has(X86_FEATURE_CALL_DEPTH),
    // its_select_mitigation() sets the feature with the ITS return thunk, unless retpolines do the work already.
    itsIndirect: itsReturnThunk !== undefined && returnThunk === itsReturnThunk && !retpoline,
    builtReturnThunk,
    returnThunk,
    itsReturnThunk,
    thunkArray: symbol("__x86_indirect_thunk_array") ?? symbol("__x86_indirect_thunk_rax"),
    uniproc: !noReplaceSmp && (flag("uniproc_patched") ?? (hasLockSwitch && features.has(X86_FEATURE_UP))),
    noReplaceParavirt: flag("noreplace_paravirt") ?? false,
    symbol,
  };
}

/** Whether the variable lies in what is given back after boot. */
function isInitMemory(kernel: Kernel, address: VirtualAddress): boolean {
  const start = kernel.find("__init_begin");
  const end = kernel.find("__init_end");
  return start !== undefined && end !== undefined && address >= start && address < end;
}

/** cpu_wants_rethunk_at(): with ITS only returns in the lower half of a cache line go through the thunk. */
export function wantsRethunkAt(state: PatchState, at: KernelOffset): boolean {
  if (!state.rethunk) return false;
  if (state.itsReturnThunk === undefined || state.returnThunk !== state.itsReturnThunk) return true;
  return (at & 0x20) === 0;
}
