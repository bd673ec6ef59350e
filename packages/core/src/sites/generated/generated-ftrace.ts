// Trampolines of ftrace_ops: copies of ftrace_caller or ftrace_regs_caller that load the ops itself and call its tracer
// (create_trampoline() in arch/x86/kernel/ftrace.c, since 3.19; up to 5.6 they end in a jump, not a return).
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { type FtraceOps, ftraceRecords } from "../../kernel/records/ftrace-records.ts";
import { isMutexHeld } from "../../kernel/records/kernel-mutex.ts";
import { livepatches } from "../../kernel/records/livepatch-records.ts";
import { pokeList } from "../../kernel/records/poke-list.ts";
import { branch32, CALL, JMP32, putI32, RET, rel32Target } from "../../x86/encode.ts";
import { relocateReplacement } from "../base/alt-relocate.ts";
import { nearestName } from "../base/context.ts";
import { isCallable } from "../base/legal-call.ts";
import { type PatchState, wantsRethunkAt } from "../base/patch-state.ts";
import { type Comparison, compareGenerated, type GeneratedCode } from "./generated-entry.ts";

/** No template is longer; a larger claim is not believed. */
const MAX_SIZE = 65536;
const POINTER = 8;

/** Labels of a template inside .text; undefined when this kernel's has others. */
interface Template {
  readonly start: KernelOffset;
  readonly end: KernelOffset;
  readonly opPointer: KernelOffset;
  readonly call: KernelOffset;
  /** JNZ that is made a NOP in copies */
  readonly jump: KernelOffset | undefined;
}

export function ftraceTrampolines(kernel: Kernel, state: PatchState, problems: string[]): GeneratedCode[] {
  const records = ftraceRecords(kernel, problems);
  const out: GeneratedCode[] = [];
  for (const ops of [...(records?.ops ?? []), ...(records?.leaving ?? [])]) {
    // An ops may bring a function of the kernel as its trampoline.
    const inText = kernel.symbols.at(ops.trampoline).length > 0;
    if (ops.trampoline === 0n || ops.trampolineSize === 0 || ops.trampolineSize > MAX_SIZE || inText) continue;
    const name = kernel.allSymbols.nearest(ops.address);
    const owner =
      name?.offset === 0
        ? name.symbol.name
        : (livepatchOwner(kernel, ops, problems) ?? `ftrace_ops at 0x${ops.address.toString(16)}`);
    const func = toKernelOffset(ops.func);
    out.push({
      kind: "ftrace-trampoline",
      owner: `${owner} (${func === undefined ? "no function" : nearestName(kernel, func)})`,
      address: ops.trampoline,
      size: ops.trampolineSize,
      ...check(kernel, state, ops, problems),
    });
  }
  return out;
}

/** "livepatch of cmdline_proc_show": livepatch has an ops of its own for each function. */
function livepatchOwner(kernel: Kernel, ops: FtraceOps, problems: string[]): string | undefined {
  if (kernel.find("klp_ftrace_handler") !== ops.func) return undefined;
  for (const { functions } of livepatches(kernel, problems)) {
    for (const { old, name, patched } of functions) {
      const start = patched ? toKernelOffset(old) : undefined;
      if (start !== undefined && (ops.traces(start) || ops.traces(start + 4))) return `livepatch of ${name}`;
    }
  }
  return undefined;
}

function templates(state: PatchState): Template[] {
  const { symbol } = state;
  const of = (prefix: string, call: string): Template | undefined => {
    const start = symbol(prefix);
    const end = symbol(`${prefix}_end`);
    const opPointer = symbol(`${prefix}_op_ptr`);
    const label = symbol(call);
    if (start === undefined || end === undefined || opPointer === undefined || label === undefined) return undefined;
    if (end <= start || end - start > MAX_SIZE) return undefined;
    return { start, end, opPointer, call: label, jump: symbol(`${prefix}_jmp`) };
  };
  return [of("ftrace_caller", "ftrace_call"), of("ftrace_regs_caller", "ftrace_regs_call")].filter(
    (template) => template !== undefined,
  );
}

function check(kernel: Kernel, state: PatchState, ops: FtraceOps, problems: string[]): Comparison {
  const at = toKernelOffset(ops.trampoline);
  // RET_SIZE: 1, or 2 with SLS hardening, or 5 with return thunks
  const fits = templates(state).filter((each) =>
    [1, 2, 5].includes(ops.trampolineSize - POINTER - (each.end - each.start)),
  );
  if (at === undefined || fits.length === 0) return { checked: false };
  const found = kernel.memory.tryRead(ops.trampoline, ops.trampolineSize);
  if (found === undefined) return { checked: false };
  const poked = pokeList(kernel, problems).filter((entry) => entry.at >= at && entry.at < at + found.length);
  let closest: Comparison | undefined;
  for (const template of fits) {
    const expected = copyOf(kernel, state, ops, template, at, found);
    if (expected === undefined) return { checked: false };
    const compared = compareGenerated(
      found,
      expected.bytes,
      (i) =>
        poked.some((entry) => at + i >= entry.at && at + i < entry.at + entry.length) ||
        // Behind a return that is shorter than its room stays what the memory held before: nothing clears it.
        (i >= expected.fill && i < found.length - POINTER),
    );
    if (compared.problem === undefined) return compared;
    if ((compared.differs?.length ?? 0) < (closest?.differs?.length ?? Number.POSITIVE_INFINITY)) closest = compared;
  }
  // register_ftrace_function() and its kin set an ops up, and move its trampoline to another tracer, under this lock.
  const changing = isMutexHeld(kernel, "ftrace_lock") ? { changing: "ftrace_lock is held" } : {};
  return { checked: true, ...closest, ...changing };
}

/** What create_trampoline() makes of a template; `fill` is where bytes begin that it leaves alone. */
function copyOf(
  kernel: Kernel,
  state: PatchState,
  ops: FtraceOps,
  template: Template,
  at: KernelOffset,
  found: Uint8Array,
): { bytes: Uint8Array; fill: number } | undefined {
  const { start, end } = template;
  const size = end - start;
  const code = kernel.memory.tryRead(fromKernelOffset(start), size);
  if (code === undefined) return undefined;
  const bytes = new Uint8Array(found.length);
  bytes.set(code);
  if (template.jump !== undefined && template.jump >= start && template.jump + 2 <= end) {
    bytes.set(state.nops.nops[2], template.jump - start);
  }
  relocateReplacement(bytes, size, at, start, size);
  const operand = template.opPointer - start;
  putI32(bytes, operand + 3, found.length - POINTER - (operand + 7));
  bytes.set(
    branch32(CALL, at + template.call - start, tracerOf(kernel, state, ops, at, template, found)),
    template.call - start,
  );
  let fill = size + 1;
  const way = wayBack(state, at + size, found, size);
  if (way !== undefined) {
    bytes.set(branch32(JMP32, at + size, way), size);
    fill = size + 5;
  } else if (wantsRethunkAt(state, at + size) && state.returnThunk !== undefined) {
    bytes.set(branch32(JMP32, at + size, state.returnThunk), size);
    fill = size + 5;
  } else {
    bytes[size] = RET;
  }
  new DataView(bytes.buffer).setBigUint64(found.length - POINTER, ops.address, true);
  return { bytes, fill };
}

/** Where copies jump at their end: to ftrace_return (3.19 to 4.4) or ftrace_epilogue (to 5.6); since then they return. */
function wayBack(state: PatchState, at: KernelOffset, found: Uint8Array, size: number): KernelOffset | undefined {
  if (found.length - POINTER - size !== 5) return undefined;
  const old = state.symbol("ftrace_return");
  if (old !== undefined || state.builtReturnThunk !== undefined) return old;
  const epilogue = state.symbol("ftrace_epilogue");
  return found[size] === JMP32 && rel32Target(found, size + 1, at + 5) === epilogue ? epilogue : undefined;
}

/** FTRACE_OPS_FL_ENABLED */
const ENABLED = 1;

/**
 * ftrace_ops_get_func(): the ops' own function, or the one that does for it what it cannot (recursion, RCU). Tracers keep
 * the trampoline when they are switched off, and what it calls, though their function is ftrace_stub from then on.
 */
function tracerOf(
  kernel: Kernel,
  state: PatchState,
  ops: FtraceOps,
  at: KernelOffset,
  template: Template,
  found: Uint8Array,
): KernelOffset {
  const call = template.call - template.start;
  const held = rel32Target(found, call + 1, at + call + 5);
  const own = toKernelOffset(ops.func) ?? 0;
  if ((ops.flags & ENABLED) === 0 && held >= 0 && held < 2 ** 31 && isCallable(kernel, held)) return held;
  const others = [
    "ftrace_ops_assist_func",
    "ftrace_ops_recurs_func",
    "ftrace_ops_list_func",
    "arch_ftrace_ops_list_func",
  ];
  return others.some((name) => state.symbol(name) === held) ? held : own;
}
