// CPUs at rest: idle threads with their stacks, per-CPU variables, and the registers that a dump records.

import { type Running, setSymbol } from "../machine/running.ts";
import type { CpuState } from "../writers/core-notes.ts";
import { FEATURE } from "./features.ts";

const TASK = "struct task_struct";
const STACK = 4 * 4096;

/** From the outermost frame in: the return address into a function, and the words that its callee pushes. */
type Frame = readonly [mark: string, calleePushes: number];
const INNER: readonly Frame[] = [
  ["cpu_startup_entry", 1],
  ["do_idle", 0],
  ["default_idle", 0],
];
const BOOT_CPU: readonly Frame[] = [["secondary_startup_64", 1], ["start_kernel", 1], ["rest_init", 1], ...INNER];
const OTHER_CPU: readonly Frame[] = [["secondary_startup_64", 1], ["start_secondary", 1], ...INNER];

export interface IdleCpu {
  readonly state: CpuState;
  /** the functions that its stack leads through, innermost first */
  readonly stack: readonly string[];
}

/** Fills in a task and gives it a stack with the magic word at its end. */
function task(r: Running, at: bigint, pid: number, comm: string, cpu: number): bigint {
  const stack = r.memory.vmalloc(STACK);
  r.memory.u64(stack, 0x57ac6e9dn);
  r.memory.set(at, TASK, { pid, tgid: pid, comm, stack, "thread_info.cpu": cpu, prio: 120, on_cpu: pid === 0 ? 1 : 0 });
  return stack;
}

/** Writes an idle thread's stack. @returns the stack pointer inside native_safe_halt */
function idleStack(r: Running, stack: bigint, frames: readonly Frame[]): bigint {
  // copy_thread() keeps room for struct pt_regs at the top.
  let sp = stack + BigInt(STACK - r.types.sizeOf("struct pt_regs"));
  for (const [mark, pushes] of frames) {
    const direct = mark === "do_idle" && !r.features.has(FEATURE.RETPOLINE);
    sp -= 8n;
    r.memory.u64(sp, r.at(direct ? ">do_idle without retpolines" : `>${mark}`));
    sp -= BigInt(8 * pushes);
  }
  return sp;
}

/**
 * All CPUs idle; CPU 0 on the kernel's own page tables, the others on a process's.
 * @param roots physical addresses of the two top page tables
 */
export function idleCpus(r: Running, roots: readonly [number, number]): IdleCpu[] {
  const out: IdleCpu[] = [];
  const tasks: bigint[] = [];
  for (let cpu = 0; cpu < r.cpus; cpu++) {
    const at = cpu === 0 ? r.at("init_task") : r.memory.kmalloc(r.types.sizeOf(TASK));
    if (cpu === 0) tasks.push(at);
    const frames = cpu === 0 ? BOOT_CPU : OTHER_CPU;
    const sp = idleStack(r, task(r, at, 0, `swapper/${cpu}`, cpu), frames);
    r.memory.set(at, TASK, { "thread.sp": sp });
    const base = r.perCpuOffset[cpu];
    const percpu = (name: string) => BigInt.asUintN(64, base + r.at(name));
    r.memory.u32(percpu("cpu_number"), cpu);
    r.memory.u64(percpu("this_cpu_off"), base);
    r.memory.u64(percpu("current_task"), at);
    r.memory.u32(percpu("__preempt_count"), 0x80000001);
    out.push({
      stack: ["native_safe_halt", ...frames.map(([mark]) => mark).reverse()],
      state: {
        registers: { rax: 0x4000n, rbx: at, rcx: 1n, rdi: BigInt(cpu) },
        rip: r.at(">halted"),
        rsp: sp,
        rflags: 0x246n,
        gsBase: base,
        // The low bits of CR3 hold a PCID.
        cr3: BigInt(cpu === 0 ? roots[0] : roots[1] + 5),
        cr4: 0x750ef0n,
      },
    });
  }
  for (const [pid, comm] of [
    [1, "init"],
    [2, "kthreadd"],
    [77, "scribe"],
  ] as const) {
    const at = r.memory.kmalloc(r.types.sizeOf(TASK));
    task(r, at, pid, comm, 0);
    r.memory.set(at, TASK, { parent: r.at("init_task"), __state: 1 });
    tasks.push(at);
  }
  const list = BigInt(r.types.offset(TASK, "tasks"));
  r.memory.ring(tasks.map((t) => t + list));
  setSymbol(r, "init_task", TASK, { parent: r.at("init_task") });
  return out;
}
