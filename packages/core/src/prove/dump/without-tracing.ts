// Tracing is passed over in a proof: what the function tracer and kprobes do at a function's entry runs in no order that
// matters to a lock word, and reads clocks and buffers that the model does not have. What is left out is told.
import { fromKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ftraceRecords } from "../../kernel/records/ftrace-records.ts";
import { kprobeRecords } from "../../kernel/records/kprobe-records.ts";
import { nameAddress } from "../../symbols/place.ts";
import type { Hook, Preset } from "../types.ts";

export interface WithoutTracing {
  readonly hooks: readonly Hook[];
  readonly presets: readonly Preset[];
  readonly assumptions: readonly string[];
}

/** Where traced functions call: by themselves, or through the list of all ops (arch/x86/kernel/ftrace_64.S). */
const ENTRIES = ["ftrace_caller", "ftrace_regs_caller", "ftrace_graph_caller", "fentry_hook"];
const NAMED = 4;

/** Hooks that return at once from each tracer, and the bytes that probed places had. */
export function withoutTracing(kernel: Kernel): WithoutTracing {
  const hooks = tracers(kernel);
  const { presets, places } = probes(kernel);
  const assumptions: string[] = [];
  if (hooks.length > 0) assumptions.push("the function tracer is on: its calls at functions' entries are passed over");
  if (places.length > 0) {
    const more = places.length > NAMED ? ` and ${places.length - NAMED} more` : "";
    assumptions.push(
      `kprobes (${places.slice(0, NAMED).join(", ")}${more}) are passed over: the code is as before them`,
    );
  }
  return { hooks, presets, assumptions };
}

/** ops->trampoline of every registered ops but livepatch's, which decides where the function goes on. */
function tracers(kernel: Kernel): Hook[] {
  const first = kernel.find("ftrace_ops_list");
  const end = kernel.find("ftrace_list_end");
  if (first === undefined || end === undefined) return [];
  const head = kernel.memory.tryRead(first, 8);
  if (head === undefined || new DataView(head.buffer, head.byteOffset).getBigUint64(0, true) === end) return [];
  const records = ftraceRecords(kernel, []);
  const livepatch = kernel.find("klp_ftrace_handler");
  const targets = new Set<bigint>();
  for (const ops of [...(records?.ops ?? []), ...(records?.leaving ?? [])])
    if (ops.trampoline !== 0n && (livepatch === undefined || ops.func !== livepatch)) targets.add(ops.trampoline);
  for (const name of ENTRIES) {
    const address = kernel.find(name);
    if (address !== undefined) targets.add(address);
  }
  return [...targets].map((address): Hook => ({ address, kind: "return" }));
}

/** The first byte under an INT3, the first five under an optimised probe's jump. */
function probes(kernel: Kernel): { presets: Preset[]; places: string[] } {
  const presets: Preset[] = [];
  const places: string[] = [];
  for (const { at, armed, opcode, copied } of kprobeRecords(kernel, [])?.probes ?? []) {
    if (armed !== "int3" && armed !== "jump") continue;
    const address = fromKernelOffset(at);
    presets.push({ address, bytes: Uint8Array.of(opcode, ...(armed === "jump" ? (copied ?? []) : [])) });
    places.push(nameAddress(kernel.allSymbols, address));
  }
  return { presets, places };
}
