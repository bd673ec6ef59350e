// Which decoder reads a lock of a kind on this kernel: a spinlock_t is a ticket lock, a byte lock, a queued one or an rt_mutex.
import type { VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { LockKind } from "../code/lock-kinds.ts";
import type { LockFamily } from "../types.ts";
import { decodeMutex } from "./mutex.ts";
import { decodeRtMutex } from "./rt-mutex.ts";
import { decodeRwlock } from "./rwlock.ts";
import { decodeRwsem } from "./rwsem.ts";
import { decodeSemaphore } from "./semaphore.ts";
import type { SpinlockWords } from "./spinlock-word.ts";
import type { LockWord } from "./types.ts";

/** What `--type` takes, and "rt-spinlock", the spinlock_t of PREEMPT_RT. */
export type LockForm =
  | "ticket"
  | "xen-byte"
  | "qspinlock"
  | "qrwlock"
  | "rwlock"
  | "mutex"
  | "rwsem"
  | "semaphore"
  | "rt-mutex"
  | "rt-spinlock";

/** Those that a user may ask for. */
export const LOCK_FORMS: readonly LockForm[] = [
  "ticket",
  "xen-byte",
  "qspinlock",
  "qrwlock",
  "rwlock",
  "mutex",
  "rwsem",
  "semaphore",
  "rt-mutex",
];

const FAMILIES: Readonly<Partial<Record<LockFamily, LockForm>>> = {
  ticket: "ticket",
  byte: "xen-byte",
  queued: "qspinlock",
  "pv-queued": "qspinlock",
};

/** The word of a spinlock of that family; undefined for families without words. */
export const formOfFamily = (family: LockFamily): LockForm | undefined => FAMILIES[family];

/** Locks that CPUs spin for. */
export const spins = (form: LockForm): boolean =>
  form === "ticket" || form === "xen-byte" || form === "qspinlock" || form === "qrwlock" || form === "rwlock";

export class LockDecoder {
  constructor(
    private readonly kernel: Kernel,
    readonly words: SpinlockWords,
  ) {}

  /** How this kernel builds locks of that kind; undefined when nothing tells. */
  formOf(kind: LockKind): LockForm | undefined {
    switch (kind) {
      case "spinlock":
        return this.words.isRtMutex ? "rt-spinlock" : formOfFamily(this.words.family);
      case "raw-spinlock":
        return formOfFamily(this.words.family);
      case "rwlock":
        // On PREEMPT_RT a rwlock_t is a struct rwbase_rt, which no decoder knows by itself.
        if (this.words.isRtMutex) return undefined;
        return this.hasQueuedRwlocks() ? "qrwlock" : "rwlock";
      default:
        return kind;
    }
  }

  /** Why this kernel cannot have a lock of that form; undefined when it can. */
  unknownHere(form: LockForm): string | undefined {
    const { kernel } = this;
    const { family } = this.words;
    const has = (...names: string[]): boolean => names.some((name) => kernel.find(name) !== undefined);
    const its = family === "unknown" || family === "none" ? "" : `; its own functions take ${family} ones`;
    switch (form) {
      case "ticket":
        if (family === "ticket" || family === "unknown" || has("__ticket_spin_lock", "ticket_spin_lock"))
          return undefined;
        return `this kernel has no ticket spinlocks${its}`;
      case "xen-byte":
        return family === "byte" || this.hasXenLocks()
          ? undefined
          : `this kernel has no Xen byte locks: no function xen_spin_lock${its}`;
      case "qspinlock":
        return family === "queued" || family === "pv-queued" || family === "unknown"
          ? undefined
          : `this kernel has no queued spinlocks${its}`;
      case "qrwlock":
        return this.hasQueuedRwlocks() ? undefined : "this kernel has no queued rwlocks";
      case "rwlock":
        return this.hasQueuedRwlocks() ? "this kernel's rwlocks are queued ones" : undefined;
      case "rt-mutex":
        return kernel.structures.has("struct rt_mutex_base", "owner") ||
          kernel.structures.has("struct rt_mutex", "owner")
          ? undefined
          : "nothing tells this kernel's layout of struct rt_mutex; --debug-info would";
      default:
        return undefined;
    }
  }

  /**
   * Reads the lock at `address` as that form.
   * @throws AddressError when it is not in the dump, MissingError when no layout of it is known
   */
  decode(address: VirtualAddress, form: LockForm): LockWord {
    const { kernel, words } = this;
    switch (form) {
      case "ticket":
        return this.spinlock(address, "ticket");
      case "xen-byte":
        return { ...this.spinlock(address, "byte"), ...(this.hasXenLocks() ? {} : { type: "byte lock" }) };
      case "qspinlock":
        return this.spinlock(address, words.family === "pv-queued" ? "pv-queued" : "queued");
      case "qrwlock":
        // 4.15 split the writer's byte off (d133166146333).
        return kernel.types.sizeOf("struct qrwlock") !== undefined &&
          !kernel.structures.has("struct qrwlock", "wlocked")
          ? decodeRwlock(kernel.memory.read(address, 8), "early", words.cpus)
          : decodeRwlock(kernel.memory.read(address, 8), "modern", words.cpus);
      case "rwlock":
        return decodeRwlock(kernel.memory.read(address, 4), "bias", words.cpus);
      case "mutex":
        return decodeMutex(kernel, address);
      case "rwsem":
        return decodeRwsem(kernel, address);
      case "semaphore":
        return decodeSemaphore(kernel, address);
      case "rt-mutex":
        return decodeRtMutex(kernel, address);
      case "rt-spinlock":
        return words.decodeRt(address);
    }
  }

  /** All forms that the word fits, free ones too; none is proved by that. */
  fitting(address: VirtualAddress): { readonly form: LockForm; readonly word: LockWord }[] {
    return LOCK_FORMS.flatMap((form) => {
      if (this.unknownHere(form) !== undefined) return [];
      try {
        const word = this.decode(address, form);
        return word.state === "impossible" || word.problems.length > 0 ? [] : [{ form, word }];
      } catch (error) {
        if (!(error instanceof PalimpsestError)) throw error;
        return [];
      }
    });
  }

  private spinlock(address: VirtualAddress, family: LockFamily): LockWord {
    const word = this.words.decode(address, family);
    if (word === undefined) throw new Error(`no word of the family ${family}`);
    return word;
  }

  private hasXenLocks(): boolean {
    return ["xen_spin_lock", "xen_spin_unlock", "xen_spin_trylock"].some(
      (name) => this.kernel.find(name) !== undefined,
    );
  }

  private hasQueuedRwlocks(): boolean {
    return ["queued_write_lock_slowpath", "queue_write_lock_slowpath"].some(
      (name) => this.kernel.find(name) !== undefined,
    );
  }
}
