// What the CPUs of the 3.0 specimen are doing: asleep in the idle loop, or spinning on floppy_lock for ever, with the
// frame-pointer stacks that lead there.
import { type Running, setSymbol } from "../machine/running.ts";
import type { CpuState } from "../writers/core-notes.ts";
import type { Story } from "./story.ts";

const TASK = "struct task_struct";
const STACK_PAGES = 2;

/** From the outermost frame in: the return address into a function, and the words its callee pushes behind rbp. */
type Frame = readonly [mark: string, calleePushes: number];
const IDLE: readonly Frame[] = [
  ["cpu_idle", 0],
  ["default_idle", 0],
];
const BOOT_IDLE: readonly Frame[] = [["start_kernel", 0], ["rest_init", 2], ...IDLE];
const OTHER_IDLE: readonly Frame[] = [["start_secondary", 2], ...IDLE];
const SPIN: readonly Frame[] = [
  ["_raw_spin_lock_irqsave", 0],
  ["default_spin_lock_flags", 0],
];
const THREAD: readonly Frame[] = [
  ["kernel_thread_helper", 1],
  ["kthread", 1],
];
/** The worker that ran redo_fd_request: it took the lock before, and comes back for it in unlock_fdc(). */
const WORKER: readonly Frame[] = [
  ...THREAD,
  ["worker_thread", 2],
  ["process_one_work", 2],
  ["redo_fd_request", 1],
  ...SPIN,
];
/** The floppy_shutdown timer, on the other CPU. */
const TIMER: readonly Frame[] = [
  ...THREAD,
  ["run_ksoftirqd", 1],
  ["__do_softirq", 1],
  ["run_timer_softirq", 0],
  ["call_timer_fn", 0],
  ["floppy_shutdown", 1],
  ["cancel_activity", 1],
  ...SPIN,
];

export interface CpuStory {
  readonly state: CpuState;
  /** functions on its stack, innermost first */
  readonly stack: readonly string[];
  /** the ticket it waits with */
  readonly ticket?: number;
}

function makeTask(r: Running, at: bigint, pid: number, comm: string, cpu: number): bigint {
  const stack = r.memory.pages(STACK_PAGES, STACK_PAGES);
  r.memory.set(stack, "struct thread_info", { task: at, cpu });
  r.memory.set(at, TASK, {
    pid,
    tgid: pid,
    comm,
    stack,
    prio: 120,
    static_prio: 120,
    real_parent: r.at("init_task"),
    parent: r.at("init_task"),
    "thread.sp": stack + 8192n - 0x100n - BigInt(16 * (pid % 7)),
    "thread.sp0": stack + 8192n,
  });
  return stack;
}

/** @param outerFramed the outermost function has a frame of its own */
function writeStack(r: Running, stack: bigint, frames: readonly Frame[], outerFramed: boolean) {
  const address = (mark: string) => {
    for (const m of r.modules) {
      const place = m.unit.marks.get(`>${mark}`);
      if (place) return m.loaded.address(place);
    }
    return r.at(`>${mark}`);
  };
  let sp = stack + BigInt(STACK_PAGES * 4096) - 168n;
  let rbp = 0n;
  const push = (value: bigint) => {
    sp -= 8n;
    r.memory.u64(sp, value);
  };
  if (outerFramed) {
    push(0n);
    rbp = sp;
  }
  for (const [mark, pushes] of frames) {
    push(address(mark));
    push(rbp);
    rbp = sp;
    sp -= BigInt(8 * pushes);
  }
  return { sp, rbp };
}

interface Role {
  readonly comm: string;
  readonly pid: number;
  readonly frames: readonly Frame[];
  readonly idle: boolean;
  readonly ticket?: number;
}

function roles(story: Story, cpus: number): Role[] {
  const worker: Role = { comm: `kworker/${cpus - 1}:1`, pid: 19, frames: WORKER, idle: false, ticket: 3 };
  const timer: Role = { comm: "ksoftirqd/0", pid: 3, frames: TIMER, idle: false, ticket: 4 };
  return Array.from({ length: cpus }, (_, cpu): Role => {
    if (story.hung && cpu === cpus - 1) return worker;
    if (story.hung && cpu === 0) return timer;
    return { comm: "swapper", pid: 0, frames: cpu === 0 ? BOOT_IDLE : OTHER_IDLE, idle: true };
  });
}

/** Tasks, stacks, per-CPU variables and registers of every CPU. */
export function runCpus(r: Running, story: Story, root: number, floppyLock: bigint): CpuStory[] {
  const size = r.types.sizeOf(TASK);
  const list = BigInt(r.types.offset(TASK, "tasks"));
  const tasks = new Map<string, bigint>([["swapper", r.at("init_task")]]);
  const bootStack = makeTask(r, r.at("init_task"), 0, "swapper", 0);
  const waiting = [
    [1, "init"],
    [2, "kthreadd"],
    [3, "ksoftirqd/0"],
    [19, `kworker/${r.cpus - 1}:1`],
    [77, "insmod"],
  ] as const;
  const stacks = new Map<string, bigint>([["swapper", bootStack]]);
  for (const [pid, comm] of waiting) {
    const at = r.memory.kmalloc(size);
    tasks.set(comm, at);
    stacks.set(comm, makeTask(r, at, pid, comm, 0));
    r.memory.set(at, TASK, { state: 1 });
  }
  r.memory.ring([...tasks.values()].map((t) => t + list));
  setSymbol(r, "init_task", TASK, { state: 0 });
  return roles(story, r.cpus).map((role, cpu) => {
    let task = tasks.get(role.comm)!;
    let stack = stacks.get(role.comm)!;
    if (role.idle && cpu > 0) {
      // The other CPUs' idle tasks are on no list.
      task = r.memory.kmalloc(size);
      stack = makeTask(r, task, 0, "swapper", cpu);
    }
    r.memory.set(task, TASK, { state: 0, on_cpu: 1 });
    r.memory.set(stack, "struct thread_info", { cpu });
    const { sp, rbp: outer } = writeStack(r, stack, role.frames, role.idle);
    const base = r.perCpuOffset[cpu];
    const percpu = (name: string) => BigInt.asUintN(64, base + r.at(name));
    r.memory.u32(percpu("cpu_number"), cpu);
    r.memory.u64(percpu("this_cpu_off"), base);
    r.memory.u64(percpu("current_task"), task);
    r.memory.u64(percpu("kernel_stack"), stack + 8192n - 40n);
    const ticket = role.ticket ?? 0;
    const spinning = { rax: BigInt(story.wide ? ticket : ticket << 8), rdx: 0n, rdi: floppyLock };
    return {
      stack: [role.idle ? "native_safe_halt" : "__ticket_spin_lock", ...role.frames.map(([m]) => m).reverse()],
      ticket: role.ticket,
      state: {
        registers: role.idle ? { rbx: task, rdi: 0n } : spinning,
        rip: r.at(role.idle ? ">halted" : ">ticket wait"),
        rsp: sp,
        rbp: outer,
        // interrupts are off where a CPU spins
        rflags: role.idle ? 0x246n : 0x93n & ~0x200n,
        gsBase: base,
        cr3: BigInt(root),
        cr4: 0x6f0n,
      },
    };
  });
}
