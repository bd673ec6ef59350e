// struct task_struct without a description of it: init_task is "swapper" and PID 0, the list of all tasks leads to PID
// 1 and 2, each task tells its stack, and the saved stack pointer of a sleeping one lies in it.
import { type Discovered, isKernelAddress, Peek, type ShapeContext, symbolAddress, textAt, walkNodes } from "./peek.ts";
import type { ShapeMember } from "./shape-types.ts";

const WINDOW = 16384;
const COMM = 16;
/** 8 KiB up to 3.14, 16 KiB since; 32 KiB with KASAN. */
const MAX_STACK = 32768n;
const SAMPLES = 24;

interface Task {
  readonly address: bigint;
  readonly view: DataView;
}

/** Members comm, stack, pid, tgid, tasks and thread.sp, those that are certain. */
export function discoverTask({ reader, symbols }: ShapeContext): Discovered | undefined {
  const address = symbolAddress(symbols, "init_task");
  const peek = new Peek(reader);
  const view = address === undefined ? undefined : peek.upTo(address, WINDOW);
  if (address === undefined || view === undefined) return undefined;
  const size = Math.min(view.byteLength, symbols.nearest(address)?.size ?? WINDOW);
  const commAt = findComm(view, size);
  if (commAt === undefined) return undefined;
  const members: ShapeMember[] = [["comm", commAt, `char[${COMM}]`]];
  const evidence = [`task_struct: "swapper" at +${commAt} of init_task`];
  const list = findTasks(peek, { address, view }, size, commAt);
  if (list === undefined) return { shapes: [{ name: "struct task_struct", members }], evidence };
  members.push(["tasks", list.at, "struct list_head"]);
  evidence.push(`task_struct.tasks at +${list.at}: leads through ${list.count} named tasks back to init_task`);
  const tasks = [{ address, view }, ...list.tasks];
  const pidAt = findPid(tasks, size);
  if (pidAt !== undefined) {
    members.push(["pid", pidAt, "int"], ["tgid", pidAt + 4, "int"]);
    evidence.push(`task_struct.pid at +${pidAt}: 0, 1, 2 along the list`);
  }
  const stack = findStack(tasks, size);
  if (stack !== undefined) {
    members.push(["stack", stack.stackAt, "void *"], ["thread.sp", stack.spAt, "u64"]);
    evidence.push(
      `task_struct.stack at +${stack.stackAt}, thread.sp at +${stack.spAt}: inside it in ${stack.count} tasks`,
    );
  }
  return { shapes: [{ name: "struct task_struct", members }], evidence };
}

function findComm(view: DataView, size: number): number | undefined {
  for (let at = 0; at + COMM <= size; at += 4) {
    if (view.getUint32(at, true) === 0x70617773 && /^swapper(\/0)?$/.test(textAt(view, at, COMM - 1) ?? "")) return at;
  }
  return undefined;
}

function findTasks(peek: Peek, init: Task, size: number, commAt: number) {
  for (let at = 0; at + 16 <= size; at += 8) {
    const next = init.view.getBigUint64(at, true);
    const head = init.address + BigInt(at);
    if (!isKernelAddress(next) || next === head || peek.u64(next + 8n) !== head) continue;
    const walk = walkNodes(peek, head, 1 << 16);
    if (walk.nodes.length < 2) continue;
    const tasks: Task[] = [];
    for (const node of walk.nodes.slice(0, SAMPLES)) {
      const address = node - BigInt(at);
      const view = peek.upTo(address, size);
      if (view === undefined || view.byteLength < commAt + COMM || textAt(view, commAt, COMM - 1) === undefined) break;
      tasks.push({ address, view });
    }
    if (tasks.length === Math.min(walk.nodes.length, SAMPLES)) return { at, tasks, count: walk.nodes.length };
  }
  return undefined;
}

/** pid and, behind it, tgid: the idle task has 0, the first two that it made have 1 and 2. */
function findPid(tasks: readonly Task[], size: number): number | undefined {
  const end = Math.min(size, ...tasks.map((task) => task.view.byteLength)) - 8;
  for (let at = 0; at <= end; at += 4) {
    const fits = tasks.slice(0, 3).every(({ view }, i) => {
      return view.getUint32(at, true) === i && view.getUint32(at + 4, true) === i;
    });
    if (fits && tasks.length >= 3) return at;
  }
  return undefined;
}

/**
 * The stack's lowest address and, somewhere behind, the saved stack pointer. A stack is aligned to its size, and no
 * two tasks share one.
 */
function findStack(tasks: readonly Task[], size: number) {
  const end = Math.min(size, ...tasks.map((task) => task.view.byteLength)) - 8;
  for (let stackAt = 0; stackAt <= Math.min(end, 256); stackAt += 8) {
    const stacks = tasks.map(({ view }) => view.getBigUint64(stackAt, true));
    if (!stacks.every((stack) => isKernelAddress(stack) && (stack & 8191n) === 0n)) continue;
    if (new Set(stacks).size !== stacks.length) continue;
    for (let spAt = stackAt + 8; spAt <= end; spAt += 8) {
      const inside = tasks.filter(({ view }, i) => {
        const sp = view.getBigUint64(spAt, true);
        return sp > stacks[i] + 128n && sp < stacks[i] + MAX_STACK && (sp & 7n) === 0n;
      });
      // sp0, where there is one, is the same distance in all tasks: the stack's end
      const distances = new Set(
        inside.map(({ view }) => view.getBigUint64(spAt, true) - view.getBigUint64(stackAt, true)),
      );
      if (inside.length * 4 >= tasks.length * 3 && distances.size > 1) return { stackAt, spAt, count: inside.length };
    }
  }
  return undefined;
}
