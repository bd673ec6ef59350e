// struct semaphore (include/linux/semaphore.h, since 2.6.26): a count of what is left and a list of those that wait.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { hexBytes } from "../../x86/encode.ts";
import { provedCountAt, provedListAt, toldBy } from "./proved-layout.ts";
import type { LockState, LockWord } from "./types.ts";
import { nameTask, readWaiters, taskFact } from "./waiters.ts";

const TYPE = "struct semaphore";

/**
 * The struct semaphore at `lock`.
 * @throws AddressError when it is not in the dump
 */
export function decodeSemaphore(kernel: Kernel, lock: VirtualAddress): LockWord {
  const s = kernel.structures;
  const size = kernel.types.sizeOf(TYPE) ?? 24;
  const bytes = hexBytes(kernel.memory.read(lock, Math.min(size, 64)));
  const list = toldBy(kernel, TYPE) ? 0 : provedListAt(kernel, TYPE, lock);
  const countAt = s.find(TYPE, "count")?.offset ?? provedCountAt(kernel, list);
  const count = kernel.memory.u32(addressAdd(lock, countAt)) | 0;
  const { waiters, problem } = readWaiters(kernel, lock, TYPE, "struct semaphore_waiter", list);
  const problems = problem === undefined ? [] : [problem];
  // CONFIG_DETECT_HUNG_TASK_BLOCKER (6.16) remembers who took it last.
  const holder = s.find(TYPE, "last_holder");
  const word = holder === undefined ? 0n : kernel.memory.u64(addressAdd(lock, holder.offset));
  const owner = word === 0n || count > 0 ? undefined : taskFact(kernel, word);
  if (count < 0) problems.push(`its count is ${count}`);
  if (count > 0 && waiters.length > 0) problems.push(`${waiters.length} tasks wait although its count is ${count}`);
  const state: LockState = count < 0 ? "impossible" : waiters.length > 0 ? "contended" : count === 0 ? "held" : "free";
  const by = owner !== undefined && owner.pid >= 0 ? `, last taken by ${nameTask(owner)}` : "";
  return {
    type: "semaphore",
    state,
    bytes,
    fields: { count, waiters: waiters.length },
    meaning:
      state === "impossible"
        ? problems.join("; ")
        : count === 0
          ? `all taken${by}${waiters.length > 0 ? `, ${waiters.length} wait` : ""}`
          : `${count} left`,
    owner: owner !== undefined && owner.pid >= 0 ? owner : undefined,
    waiters,
    problems,
  };
}
