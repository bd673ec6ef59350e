// Sleeps that no lock explains: completions, flushed works, stopped threads, grace periods, I/O. What a task waits in is told
// by its stack; the object by the waiter that it left there.
import { addressAdd, formatAddress, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { walkList } from "../kernel/layouts/lists.ts";
import { getU64 } from "../kernel/layouts/little-endian.ts";
import { taskStacks } from "../tasks/stacks.ts";
import type { Actor, Actors } from "./actors.ts";

export interface Sleep {
  readonly actor: Actor;
  readonly kind: "completion" | "work" | "kthread-stop" | "rcu" | "io" | "other";
  /** the struct completion */
  readonly object: VirtualAddress | undefined;
  /** completion.done */
  readonly done: number | undefined;
  /** who must act for it to end, where that is known */
  readonly holder: Actor | undefined;
  /** "waits for the completion hg_never [hang_gallery]" */
  readonly words: string;
}

const COMPLETION = "struct completion";
/** Words of the stack among which a waiter is looked for. */
const STACK_WORDS = 160;
const MAX_WORKS = 4096;

export class Sleeps {
  private readonly kernel: Kernel;

  constructor(private readonly actors: Actors) {
    this.kernel = actors.kernel;
  }

  /** What a task that sleeps uninterruptibly waits for; undefined when its stack is not known. */
  of(actor: Actor): Sleep | undefined {
    const names = this.actors.frames(actor).map(({ place }) => place.symbol);
    if (names.length === 0) return undefined;
    const has = (pattern: RegExp): boolean => names.some((name) => pattern.test(name));
    const completes = has(/^(wait_for_(common|completion)|__wait_for_common)/);
    const found = completes ? this.completionOf(actor) : undefined;
    const at = found === undefined ? undefined : this.nameOf(found.object);
    const base = { actor, object: found?.object, done: found?.done };
    if (has(/^(__flush_work|flush_work|__flush_workqueue|flush_workqueue|__cancel_work_timer|__cancel_work)/)) {
      const holder = found && this.workerOf(found.object);
      return { ...base, kind: "work", holder, words: "waits for a work that it flushes" };
    }
    if (has(/^kthread_(stop|park)/)) {
      const holder = found && this.threadOf(found.object);
      return { ...base, kind: "kthread-stop", holder, words: "waits for a kernel thread to end" };
    }
    if (
      has(/^(synchronize_s?rcu|__wait_rcu_gp|rcu_barrier|synchronize_net|wait_rcu_exp_gp|synchronize_rcu_expedited)/)
    ) {
      return { ...base, kind: "rcu", holder: undefined, words: "waits for an RCU grace period" };
    }
    if (
      has(
        /^(io_schedule|wait_for_completion_io|folio_wait|wait_on_page|bit_wait_io|blk_|submit_bio_wait|__wait_on_buffer)/,
      )
    ) {
      return { ...base, kind: "io", holder: undefined, words: `waits for I/O${at === undefined ? "" : ` (${at})`}` };
    }
    if (completes) {
      return {
        ...base,
        kind: "completion",
        holder: undefined,
        words: `waits for the completion ${at ?? "(its address is not known)"}`,
      };
    }
    const place = this.actors.place(actor, 1)[0];
    return { ...base, kind: "other", holder: undefined, words: `sleeps in ${place ?? "a function that is not known"}` };
  }

  private nameOf(address: VirtualAddress): string {
    const near = address >= 0xffffffff80000000n ? this.kernel.allSymbols.nearest(address) : undefined;
    if (near === undefined || near.offset >= (near.size ?? 4096)) return formatAddress(address);
    const plus = near.offset === 0 ? "" : `+0x${near.offset.toString(16)}`;
    return `${near.symbol.name}${plus}${near.symbol.module === undefined ? "" : ` [${near.symbol.module}]`}`;
  }

  /** struct swait_queue {task, list} on the task's stack, on the list of a struct completion (5.7; wait queues before). */
  private completionOf({ task }: Actor): { object: VirtualAddress; done: number } | undefined {
    const { structures: s, memory } = this.kernel;
    const head = s.find(COMPLETION, "wait.task_list") ?? s.find(COMPLETION, "wait.head");
    const done = s.find(COMPLETION, "done");
    const { sp, stack } = task;
    if (sp === undefined || stack === undefined || sp < stack) return undefined;
    const end = stack + BigInt(taskStacks(this.kernel).stackSize);
    const words = Math.min(STACK_WORDS, Number((end - sp) >> 3n));
    const bytes = words > 0 ? memory.tryRead(sp, words * 8) : undefined;
    if (head === undefined || done === undefined || bytes === undefined) return undefined;
    for (let i = 0; i + 3 < words; i++) {
      if (getU64(bytes, i * 8) !== task.address) continue;
      for (const plus of [1, 2]) {
        const node = addressAdd(sp, (i + plus) * 8);
        const list = this.headOf(node);
        if (list === undefined) continue;
        const object = addressAdd(list, -head.offset);
        const count = memory.tryRead(addressAdd(object, done.offset), 4);
        if (count !== undefined) return { object, done: count[0] | (count[1] << 8) };
      }
    }
    return undefined;
  }

  /** The list's other node, when there is one waiter; the one outside of tasks' stacks when there are more. */
  private headOf(node: VirtualAddress): VirtualAddress | undefined {
    const walk = walkList(this.kernel.memory, node, 0, 64);
    if (walk.problem !== undefined || walk.entries.length === 0) return undefined;
    const back = this.kernel.memory.tryRead(addressAdd(walk.entries[0], 8), 8);
    if (back === undefined || getU64(back, 0) !== node) return undefined;
    if (walk.entries.length === 1) return walk.entries[0];
    return walk.entries.find((entry) => {
      const before = this.kernel.memory.tryRead(addressAdd(entry, -8), 8);
      return before !== undefined && this.actors.get(formatAddress(getU64(before, 0))) === undefined;
    });
  }

  /** A wq_barrier on the flusher's stack is among the works that one worker has scheduled (insert_wq_barrier). */
  private workerOf(completion: VirtualAddress): Actor | undefined {
    const { structures: s } = this.kernel;
    const inBarrier = s.find("struct wq_barrier", "done");
    const work = s.find("struct wq_barrier", "work");
    const entry = s.find("struct work_struct", "entry");
    const scheduled = s.find("struct worker", "scheduled");
    if (inBarrier === undefined || work === undefined || entry === undefined || scheduled === undefined)
      return undefined;
    const wanted = addressAdd(completion, work.offset + entry.offset - inBarrier.offset);
    for (const actor of this.actors.all) {
      const worker = actor.details.kernelThread ? this.threadData(actor) : undefined;
      if (worker === undefined) continue;
      const walk = walkList(this.kernel.memory, addressAdd(worker, scheduled.offset), 0, MAX_WORKS);
      if (walk.entries.includes(wanted)) return actor;
    }
    return undefined;
  }

  /** struct kthread: task_struct.worker_private since 5.17 (e32cf5dfbe22), set_child_tid before */
  private kthreadOf(actor: Actor): VirtualAddress | undefined {
    const { structures: s } = this.kernel;
    const member = ["worker_private", "set_child_tid"].find((name) => s.has("struct task_struct", name));
    if (member === undefined) return undefined;
    try {
      const kthread = s.pointer(actor.task.address, "struct task_struct", member);
      return kthread < 0xff00000000000000n ? undefined : kthread;
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  private threadData(actor: Actor): VirtualAddress | undefined {
    const kthread = this.kthreadOf(actor);
    const data = this.kernel.structures.find("struct kthread", "data");
    const bytes = kthread && data && this.kernel.memory.tryRead(addressAdd(kthread, data.offset), 8);
    const value = bytes && getU64(bytes, 0);
    return value === undefined || value < 0xff00000000000000n ? undefined : virtualAddress(value);
  }

  private threadOf(completion: VirtualAddress): Actor | undefined {
    const { structures: s } = this.kernel;
    const members = ["exited", "parked"].flatMap((name) => s.find("struct kthread", name) ?? []);
    return this.actors.all.find((actor) => {
      const kthread = actor.details.kernelThread ? this.kthreadOf(actor) : undefined;
      return kthread !== undefined && members.some(({ offset }) => addressAdd(kthread, offset) === completion);
    });
  }
}
