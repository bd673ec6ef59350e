// struct rt_mutex_base (struct rt_mutex before 5.15): owner with a flag, and a red-black tree of waiters by priority.
// PREEMPT_RT builds spinlocks, mutexes and rw_semaphores on it.
import { addressAdd, formatAddress, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { hexBytes } from "../../x86/encode.ts";
import type { LockState, LockWord, WaiterFact } from "./types.ts";
import { nameTask, taskFact } from "./waiters.ts";

const MAX_WAITERS = 4096;
const MAX_DEPTH = 64;

/**
 * The rt_mutex_base (or old rt_mutex) at `lock`.
 * @throws MissingError when this kernel tells no layout of it, AddressError when it is not in the dump
 */
export function decodeRtMutex(kernel: Kernel, lock: VirtualAddress): LockWord {
  const s = kernel.structures;
  const type = s.has("struct rt_mutex_base", "owner") ? "struct rt_mutex_base" : "struct rt_mutex";
  const bytes = hexBytes(kernel.memory.read(lock, Math.min(s.size(type), 64)));
  const word = s.unsigned(lock, type, "owner");
  const owner = word & ~1n;
  const fact = owner === 0n ? undefined : taskFact(kernel, owner);
  const problems: string[] = [];
  const root = s.has(type, "waiters.rb_root") ? "waiters.rb_root.rb_node" : "waiters.rb_node";
  const waiters = s.has(type, root) ? readTree(kernel, s.pointer(lock, type, root), problems) : [];
  if (fact !== undefined && fact.pid < 0) problems.push(`its owner word leads to ${fact.address}, where no task is`);
  const waits = (word & 1n) !== 0n || waiters.length > 0;
  const impossible = fact !== undefined && fact.pid < 0;
  const state: LockState = impossible ? "impossible" : waits ? "contended" : fact === undefined ? "free" : "held";
  const held = fact === undefined ? "free" : `held by ${nameTask(fact)}`;
  return {
    type: "rt_mutex",
    state,
    bytes,
    fields: {
      owner: owner === 0n ? "none" : `0x${owner.toString(16)}`,
      flags: (word & 1n) !== 0n ? "has waiters" : "none",
      waiters: waiters.length,
    },
    meaning: impossible ? problems.join("; ") : `${held}${waits ? ", tasks wait" : ""}`,
    owner: fact,
    waiters,
    problems,
  };
}

/** Waiters in order of priority. */
function readTree(kernel: Kernel, root: VirtualAddress, problems: string[]): WaiterFact[] {
  const s = kernel.structures;
  const type = "struct rt_mutex_waiter";
  // tree_entry up to 6.4; struct rt_waiter_node tree {struct rb_node entry; …} since
  const entry = s.find(type, "tree.entry") ?? s.find(type, "tree_entry");
  const task = s.find(type, "task");
  const left = s.find("struct rb_node", "rb_left");
  const right = s.find("struct rb_node", "rb_right");
  if (entry === undefined || task === undefined || left === undefined || right === undefined) return [];
  const out: WaiterFact[] = [];
  const seen = new Set<bigint>();
  const walk = (node: VirtualAddress, depth: number): void => {
    if (node === 0n || out.length >= MAX_WAITERS) return;
    if (seen.has(node) || depth > MAX_DEPTH) {
      problems.push(`its tree of waiters loops after ${out.length}`);
      return;
    }
    seen.add(node);
    walk(kernel.memory.pointer(addressAdd(node, left.offset)), depth + 1);
    const waiter = addressAdd(node, -entry.offset);
    out.push({
      address: formatAddress(waiter),
      task: taskFact(kernel, kernel.memory.u64(addressAdd(waiter, task.offset))),
    });
    walk(kernel.memory.pointer(addressAdd(node, right.offset)), depth + 1);
  };
  try {
    walk(root, 0);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    problems.push(`its tree of waiters: ${error.message} after ${out.length}`);
  }
  return out;
}
