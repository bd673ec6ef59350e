// ftrace: the compiler's `call __fentry__` at each function is a NOP unless traced; which, tells the kernel's own record
// of the site (kernel/trace/ftrace.c, arch/x86/kernel/ftrace.c).

import type { BuiltSection } from "../../built/object.ts";
import { formatAddress, fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import {
  FTRACE_FL,
  type FtraceOps,
  type FtraceRecords,
  ftraceRecords,
  pointerOffset,
} from "../../kernel/records/ftrace-records.ts";
import { livepatchOf } from "../../kernel/records/livepatch-records.ts";
import { branch32, CALL, JMP32, rel32Target } from "../../x86/encode.ts";
import { heldLock, moduleOnTheMove } from "../base/changes.ts";
import { findSiteTable, type Mechanism, nameOf, type SiteContext } from "../base/context.ts";
import { branchTarget, isCallable } from "../base/legal-call.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { type LegalForm, type Pending, SiteArrays, type SiteDetails } from "../base/site.ts";
import { tellUnknownState } from "../unknown/unknown-state.ts";

const LENGTH = 5;
const ENDBR = 4;
/** Such a site calls what an ops tells. */
const TRAMPOLINES = FTRACE_FL.TRAMP_EN | FTRACE_FL.DIRECT_EN;
/** Entries of __mcount_loc that tell whether they lead to the call or into it. */
const MCOUNT_SAMPLE = 64;
/** ftrace_call and its kin: calls inside the trampolines' template that lead to the tracer in use. */
const LABELS = ["ftrace_call", "ftrace_regs_call"] as const;

/** ftrace_is_jmp(): a direct trampoline is jumped to when bit 0 of its address is set (7.0 and newer). */
function leadTo(at: KernelOffset, target: KernelOffset): Uint8Array {
  return (target & 1) === 0 ? branch32(CALL, at, target) : branch32(JMP32, at, target - 1);
}

/**
 * Where an enabled site leads, in leadTo()'s terms: ftrace_get_addr_curr(). Undefined when its flags tell of a trampoline
 * that no ops or hash names; while ftrace is being changed the common trampoline stands for that.
 */
export function tracedTarget(context: SiteContext, records: FtraceRecords, index: number): KernelOffset | undefined {
  const ip = records.ips[index];
  const flags = records.flags[index];
  const { state } = context;
  const common = (): KernelOffset | undefined =>
    state.symbol((flags & FTRACE_FL.REGS_EN) !== 0 ? "ftrace_regs_caller" : "ftrace_caller");
  if ((flags & FTRACE_FL.DIRECT_EN) !== 0) {
    const direct = records.direct(ip);
    if (direct !== undefined) return toKernelOffset(direct);
  }
  if ((flags & FTRACE_FL.TRAMP_EN) !== 0) {
    const traces = (each: FtraceOps): boolean => each.trampoline !== 0n && each.traces(ip);
    // ftrace_find_tramp_ops_curr(): while a filter changes, sites that were not reached yet follow the old one.
    const traced = (each: FtraceOps): boolean => each.trampoline !== 0n && each.traced(ip);
    const ops = records.ops.find(traces) ?? records.leaving.find(traces) ?? records.ops.find(traced);
    if (ops !== undefined) return toKernelOffset(ops.trampoline);
  }
  if ((flags & TRAMPOLINES) === 0 || underChange(context) !== undefined) return common();
  return undefined;
}

/** What shows that ftrace was changing sites at the moment of the dump. */
function underChange(context: SiteContext): string | undefined {
  return moduleOnTheMove(context) ?? heldLock(context, "ftrace_lock");
}

/**
 * Whether a record of this object's code is of no site: a damaged address, so that the record of some site is not where it
 * would be looked for. Sites of weak functions that lost to others have no records, and that is no damage.
 */
function hasStrays(
  { object, space, problems }: SiteContext,
  records: FtraceRecords,
  places: readonly KernelOffset[],
): boolean {
  const known = new Set(places);
  const stray = records.ips.find((ip) => space.find(ip, LENGTH) !== undefined && !known.has(ip));
  if (stray === undefined) return false;
  problems.push(
    `an ftrace record of ${object.name} leads to ${formatAddress(fromKernelOffset(stray))}, where no site is`,
  );
  return true;
}

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

export const applyFtrace: Mechanism = (context) => {
  const { object, space, kernel, state } = context;
  const form = { mechanism: "ftrace", size: 8 } as const;
  const table = findSiteTable(context, form, "__mcount_loc", "__start_mcount_loc", "__stop_mcount_loc");
  const records = ftraceRecords(kernel, context.problems);
  if (records === undefined || (table === undefined && object.partial !== true)) return undefined;
  if (records.unknown !== undefined) {
    tellUnknownState(context, "ftrace", "ftrace_pages_start", records.unknown, "ftrace sites are not judged");
  }
  const id = mechanismId("ftrace");
  const places = table === undefined ? recordedPlaces(context, records) : callsOf(context, tabledPlaces(table));
  const sites = new SiteArrays(places.length + LABELS.length);
  const nop5 = state.nops.atomic5;
  const moving = moduleOnTheMove(context);
  const strays = lazily(() => hasStrays(context, records, places));
  for (const at of places) {
    sites.add(at, LENGTH);
    const index = records.indexOf(at);
    if (space.find(at, LENGTH) === undefined) continue;
    if (index < 0) {
      // ftrace_release_mod() forgets the records of a module that goes, and leaves its sites as they are.
      if (moving !== undefined) space.write(at, nop5, id);
      else if (!records.complete || strays()) space.forget(at, LENGTH, "ftrace", "ftrace record");
      continue;
    }
    if ((records.flags[index] & FTRACE_FL.ENABLED) === 0) {
      space.write(at, nop5, id);
      continue;
    }
    const target = tracedTarget(context, records, index);
    // Without layouts of the ops any trampoline may be this site's.
    const unsure = (records.flags[index] & TRAMPOLINES) !== 0 && records.unknownOps() !== undefined;
    if (target !== undefined && !unsure) {
      space.write(at, leadTo(at, target), id);
      continue;
    }
    space.forget(at, LENGTH, "ftrace", "trampoline");
    const what = records.unknownOps() ?? "which ftrace_ops traces a site";
    tellUnknownState(context, "ftrace", "ftrace_ops_list", what, "sites traced through a trampoline are not judged");
  }
  const labels = object.name === "vmlinux" ? applyLabels(context, sites, id) : 0;
  /** A trampoline has no symbol: it is named by the tracer that it serves. */
  const place = (target: KernelOffset): string => {
    const ops = [...records.ops, ...records.leaving].find((each) => toKernelOffset(each.trampoline) === target);
    const tracer = ops === undefined ? undefined : toKernelOffset(ops.func);
    return tracer === undefined || state.symbol("ftrace_caller") === target
      ? nameOf(context, target)
      : `the trampoline of ${nameOf(context, tracer)}`;
  };
  const leads = (target: KernelOffset): string =>
    (target & 1) === 0 ? `calls ${place(target)}` : `jumps to ${place(target - 1)}`;
  const describe = (i: number): SiteDetails => {
    const at = sites.offsets[i];
    const index = records.indexOf(at);
    const built = space.readBuilt(at, LENGTH);
    const forms: LegalForm[] = [{ name: "NOP (not traced)", bytes: nop5 }];
    if (built) forms.push({ name: "call __fentry__ left as built", bytes: built });
    const enabled = index >= 0 && (records.flags[index] & FTRACE_FL.ENABLED) !== 0;
    const target = enabled ? tracedTarget(context, records, index) : undefined;
    return {
      slot: {
        name: "ftrace record",
        value:
          index < 0
            ? "none"
            : `flags 0x${records.flags[index].toString(16).padStart(8, "0")}${livepatchWords(context, at)}`,
      },
      reason: enabled
        ? `traced: ${target === undefined ? "calls an unknown trampoline" : leads(target)}`
        : "not traced: NOP",
      forms: forms.filter((form) => enabled || !form.name.startsWith("NOP")),
      callsFunctions: true,
    };
  };
  return {
    mechanism: "ftrace",
    object: object.name,
    entries: sites.count - labels,
    table: table === undefined ? "ftrace records" : "__mcount_loc (8-byte entries)",
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe,
    pending: pendingChange(context, records, sites, labels),
  };
};

/** "; livepatch lp_sample runs lp_cmdline_proc_show [lp_sample] instead", or nothing. */
function livepatchWords(context: SiteContext, at: KernelOffset): string {
  // The call lies at the function's start or behind its ENDBR.
  for (const start of [at, at - ENDBR]) {
    const found = livepatchOf(context.kernel, fromKernelOffset(start), context.problems);
    const target = found === undefined ? undefined : toKernelOffset(found.func.replacement);
    if (found !== undefined && target !== undefined) {
      return `; livepatch ${found.patch.module} runs ${nameOf(context, target)} instead`;
    }
  }
  return "";
}

/** An entry of 0 was a weak function: after relocation it is no address of this object, and its call stays. */
function tabledPlaces(table: BuiltSection): number[] {
  const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.length);
  const places: number[] = [];
  for (let at = 0; at + 8 <= table.bytes.length; at += 8) {
    const place = view.getUint32(at, true) - 0x80000000;
    if (view.getUint32(at + 4, true) === 0xffffffff && place >= 0) places.push(place);
  }
  return places;
}

/**
 * Up to 2.6.39 entries lead to the displacement of the call, and ftrace_call_adjust() subtracts one (arch/x86/include/
 * asm/ftrace.h); the bytes of the first entries tell.
 */
function callsOf(context: SiteContext, places: readonly number[]): readonly number[] {
  let here = 0;
  let before = 0;
  for (const at of places) {
    const around = context.space.readBuilt(at - 1, 2);
    if (around === undefined) continue;
    if (around[1] === CALL) here++;
    else if (around[0] === CALL) before++;
    if (here + before >= MCOUNT_SAMPLE) break;
  }
  return before > here ? places.map((at) => at - 1) : places;
}

/** Without an image the records themselves are the table. */
function recordedPlaces(context: SiteContext, records: FtraceRecords): number[] {
  return Array.from(records.ips).filter((ip) => context.space.find(ip, LENGTH) !== undefined);
}

/**
 * While ftrace_lock is held the records follow the text one by one, but which of several trampolines an enabled site
 * calls, and where the labels lead, changes before the text does. A module on its way out has no records any more.
 */
function pendingChange(
  context: SiteContext,
  records: FtraceRecords,
  sites: SiteArrays,
  labels: number,
): Pending | undefined {
  const evidence = underChange(context);
  if (evidence === undefined) return undefined;
  const { state, kernel, space } = context;
  const targets = new Set<KernelOffset>();
  const add = (target: KernelOffset | undefined): unknown => target !== undefined && targets.add(target);
  for (const name of ["ftrace_caller", "ftrace_regs_caller"]) add(state.symbol(name));
  for (const ops of [...records.ops, ...records.leaving]) add(toKernelOffset(ops.trampoline));
  const names = ["ftrace_ops_list_func", "arch_ftrace_ops_list_func", "ftrace_ops_assist_func", "ftrace_stub"];
  const tracers = [...names.map((name) => state.symbol(name)), pointerOffset(kernel, "ftrace_trace_function")];
  for (const ops of [...records.ops, ...records.leaving]) tracers.push(toKernelOffset(ops.func));
  return {
    evidence,
    forms: (i, poked) => {
      const at = sites.offsets[i];
      const calls = (list: Iterable<KernelOffset | undefined>): Uint8Array[] =>
        [...list].flatMap((target) => (target === undefined ? [] : [leadTo(at, target)]));
      if (i >= sites.count - labels) {
        const built = space.readBuilt(at, LENGTH);
        return built === undefined ? calls(tracers) : [built, ...calls(tracers)];
      }
      const index = records.indexOf(at);
      if (index >= 0 && !poked && (records.flags[index] & FTRACE_FL.ENABLED) === 0) return [];
      const direct = index < 0 ? undefined : records.direct(at);
      return calls([...targets, direct === undefined ? undefined : toKernelOffset(direct)]);
    },
  };
}

/** ftrace_kill() and sysctl kernel.ftrace_enabled=0 set ftrace_trace_function to a stub and leave the labels alone. */
function isOff(kernel: Kernel): boolean {
  const flag = (name: string): number | undefined => {
    const at = kernel.find(name);
    return at === undefined ? undefined : kernel.memory.tryRead(at, 4)?.[0];
  };
  return flag("ftrace_enabled") === 0 || (flag("ftrace_disabled") ?? 0) !== 0;
}

/** Where a label leads now, when that is the start of a function. */
function labelTarget(kernel: Kernel, at: KernelOffset): KernelOffset | undefined {
  const found = kernel.memory.tryRead(fromKernelOffset(at), LENGTH);
  const target = found?.[0] === CALL ? branchTarget(found, at) : undefined;
  return target !== undefined && isCallable(kernel, target) ? target : undefined;
}

/** ftrace_call leads to *ftrace_trace_function; ftrace_graph_call (up to 5.10) to ftrace_graph_caller while that is active. */
function applyLabels(context: SiteContext, sites: SiteArrays, id: number): number {
  const { space, state, kernel } = context;
  const before = sites.count;
  const current = pointerOffset(kernel, "ftrace_trace_function");
  const off = isOff(kernel);
  for (const label of LABELS) {
    const at = state.symbol(label);
    const built = at === undefined ? undefined : space.readBuilt(at, LENGTH);
    if (at === undefined || built === undefined || built[0] !== CALL || current === undefined) continue;
    sites.add(at, LENGTH);
    const tracer = (off ? labelTarget(kernel, at) : undefined) ?? current;
    const bytes = branch32(CALL, at, tracer);
    if (rel32Target(built, 1, at + LENGTH) !== tracer) space.write(at, bytes, id);
  }
  const graph = state.symbol("ftrace_graph_call");
  const caller = state.symbol("ftrace_graph_caller");
  const active = kernel.find("ftrace_graph_active");
  if (graph !== undefined && caller !== undefined && active !== undefined) {
    const count = kernel.memory.tryRead(active, 4);
    const built = space.readBuilt(graph, LENGTH);
    if (built?.[0] === JMP32 && count !== undefined) {
      sites.add(graph, LENGTH);
      if (count.some((byte) => byte !== 0)) space.write(graph, branch32(JMP32, graph, caller), id);
    }
  }
  return sites.count - before;
}
