// A spinlock's word under the implementation that this kernel runs: which decoder applies, and with which layout.
import type { VirtualAddress } from "../../bytes/brand.ts";
import { toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { PerCpu } from "../../tasks/per-cpu.ts";
import { hexBytes } from "../../x86/encode.ts";
import { codeEffects } from "../code/code-effects.ts";
import type { Implementations } from "../code/implementation.ts";
import type { LockFamily } from "../types.ts";
import { decodeQspinlock } from "./qspinlock.ts";
import { decodeRtMutex } from "./rt-mutex.ts";
import { decodeTicket, type TicketLayout } from "./ticket.ts";
import type { LockWord } from "./types.ts";
import { decodeXenByte } from "./xen-byte.ts";

/** Out-of-line functions that take a spinlock, in the order in which they are asked for its kind. */
const LOCK_FUNCTIONS = [
  "_raw_spin_lock",
  "_raw_spin_lock_irq",
  "_raw_spin_lock_irqsave",
  "_spin_lock",
  "_spin_lock_irqsave",
];

export class SpinlockWords {
  readonly cpus: number;
  private layout: TicketLayout | undefined;
  private native: LockFamily | undefined;

  constructor(
    private readonly kernel: Kernel,
    private readonly implementations: Implementations,
  ) {
    this.cpus = new PerCpu(kernel).possible;
  }

  /** The implementation that the core's out-of-line functions run now, by their code in the dump. */
  get family(): LockFamily {
    this.native ??= this.findFamily();
    return this.native;
  }

  /** PREEMPT_RT: a spinlock_t is an rt_mutex; raw_spinlock_t stays what it is. */
  get isRtMutex(): boolean {
    return this.kernel.types.sizeOf("struct rt_mutex_base") !== undefined
      ? this.kernel.structures.has("struct spinlock", "lock.owner") || this.kernel.find("rt_spin_lock") !== undefined
      : false;
  }

  /** Bytes of halves and step of tickets, by what the kernel's own lock and unlock functions do. */
  get ticketLayout(): TicketLayout {
    this.layout ??= this.findTicketLayout();
    return this.layout;
  }

  /**
   * Decodes the word as `family` has it; undefined for a family without words.
   * @throws AddressError when it is not in the dump
   */
  decode(lock: VirtualAddress, family: LockFamily = this.family): LockWord | undefined {
    const { memory } = this.kernel;
    switch (family) {
      case "ticket":
        return decodeTicket(memory.read(lock, this.ticketLayout.size ?? 4), this.ticketLayout, this.cpus);
      case "byte":
        return decodeXenByte(memory.read(lock, 4), this.cpus);
      case "queued":
        return decodeQspinlock(memory.read(lock, 4), this.cpus, false);
      case "pv-queued":
        return decodeQspinlock(memory.read(lock, 4), this.cpus, true);
      default:
        return undefined;
    }
  }

  /** A sleeping spinlock of PREEMPT_RT. @throws AddressError, MissingError */
  decodeRt(lock: VirtualAddress): LockWord {
    return { ...decodeRtMutex(this.kernel, lock), type: "spinlock (rt_mutex)" };
  }

  /** The lock's first bytes, for words that nothing decodes. @throws AddressError */
  raw(lock: VirtualAddress): string {
    return hexBytes(this.kernel.memory.read(lock, 16));
  }

  private findFamily(): LockFamily {
    for (const name of LOCK_FUNCTIONS) {
      const address = this.kernel.find(name);
      const offset = address === undefined ? undefined : toKernelOffset(address);
      if (offset === undefined) continue;
      const { family } = this.implementations.of(offset, "lock");
      if (family !== "unknown" && family !== "none") return family;
    }
    if (this.kernel.find("native_queued_spin_lock_slowpath") !== undefined) return "queued";
    return this.kernel.find("queued_spin_lock_slowpath") !== undefined ? "queued" : "unknown";
  }

  private findTicketLayout(): TicketLayout {
    let half: 1 | 2 = 1;
    let step: 1 | 2 = 1;
    for (const name of ["__ticket_spin_lock", "ticket_spin_lock", ...LOCK_FUNCTIONS]) {
      const effect = this.effects(name)?.find((each) => each.operation === "xadd" && each.offset === 0);
      if (effect === undefined || (effect.width !== 2 && effect.width !== 4)) continue;
      half = effect.width === 2 ? 1 : 2;
      break;
    }
    for (const name of ["__ticket_spin_unlock", "_raw_spin_unlock", "_raw_spin_unlock_irqrestore"]) {
      const effect = this.effects(name)?.find((each) => each.operation === "add" && each.width === half);
      if (effect?.immediate === undefined) continue;
      step = effect.immediate === 2n ? 2 : 1;
      break;
    }
    // 3.2 and newer have nothing behind head and tail; before, the word was an unsigned int all the same.
    const told = this.kernel.types.sizeOf("struct arch_spinlock");
    return { half, step, size: told !== undefined && told >= 2 * half && told <= 8 ? told : 4 };
  }

  private effects(name: string): ReturnType<typeof codeEffects>["effects"] | undefined {
    const address = this.kernel.find(name);
    const near = address === undefined ? undefined : this.kernel.symbols.nearest(address);
    if (address === undefined || near === undefined) return undefined;
    const bytes = this.kernel.memory.tryRead(address, Math.min(near.size ?? 64, 512));
    return bytes && codeEffects(bytes, address).effects;
  }
}
