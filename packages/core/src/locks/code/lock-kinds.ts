// Kinds of locks as the kernel's source has them, and what names them: the C types of variables, the functions that take a
// lock's address.

/** "spinlock" is spinlock_t, which PREEMPT_RT builds on an rt_mutex; "raw-spinlock" spins on every kernel. */
export type LockKind = "spinlock" | "raw-spinlock" | "rwlock" | "mutex" | "rwsem" | "semaphore" | "rt-mutex";

/** A lock that stands at the same address as another: structures begin with the spinlock that guards them. */
export const OUTER_FIRST: readonly LockKind[] = [
  "mutex",
  "rwsem",
  "semaphore",
  "rt-mutex",
  "rwlock",
  "spinlock",
  "raw-spinlock",
];

/** C types by name, as BTF and DWARF spell them. */
const TYPES: Readonly<Record<string, LockKind>> = {
  spinlock_t: "spinlock",
  "struct spinlock": "spinlock",
  raw_spinlock_t: "raw-spinlock",
  "struct raw_spinlock": "raw-spinlock",
  arch_spinlock_t: "raw-spinlock",
  "struct qspinlock": "raw-spinlock",
  rwlock_t: "rwlock",
  "struct mutex": "mutex",
  "struct rw_semaphore": "rwsem",
  "struct semaphore": "semaphore",
  "struct rt_mutex": "rt-mutex",
  "struct rt_mutex_base": "rt-mutex",
};

/** The kind of lock that a C type is; undefined for all other types. */
export function kindOfType(typeName: string): LockKind | undefined {
  return Object.hasOwn(TYPES, typeName) ? TYPES[typeName] : undefined;
}

/** What stands before "lock" and behind it in the names of one family of functions. */
const SPIN = ["", "_bh", "_irq", "_irqsave", "_irqrestore", "_nested", "_nest_lock", "_irqsave_nested"];
const OPERATIONS = (stem: string, tails: readonly string[]): string[] =>
  ["lock", "trylock", "unlock"].flatMap((operation) => tails.map((tail) => `${stem}_${operation}${tail}`));
const SLEEPING = ["", "_interruptible", "_killable", "_io", "_nested", "_interruptible_nested", "_killable_nested"];

/** Functions whose first argument is a lock of that kind: kernel/locking/, every release from 2.6.27 on. */
const FUNCTIONS: Readonly<Record<LockKind, readonly string[]>> = {
  // spin_lock() is rt_spin_lock() on PREEMPT_RT; elsewhere spinlock_t and raw_spinlock_t share _raw_spin_lock().
  spinlock: OPERATIONS("rt_spin", ["", "_nested", "_bh"]),
  "raw-spinlock": [...OPERATIONS("_raw_spin", SPIN), ...OPERATIONS("_spin", SPIN)],
  rwlock: ["_raw_read", "_raw_write", "_read", "_write"].flatMap((stem) => OPERATIONS(stem, SPIN)),
  mutex: [...OPERATIONS("mutex", SLEEPING), ...OPERATIONS("_mutex", SLEEPING)],
  rwsem: [
    "up_read",
    "up_write",
    "downgrade_write",
    ...["down_read", "down_write"].flatMap((stem) =>
      ["", "_trylock", "_killable", "_interruptible", "_nested", "_killable_nested"].map((tail) => `${stem}${tail}`),
    ),
  ],
  semaphore: ["up", "down", "down_interruptible", "down_killable", "down_trylock", "down_timeout"],
  "rt-mutex": OPERATIONS("rt_mutex", SLEEPING),
};

/** All names with their kinds. */
export const LOCK_FUNCTIONS: readonly (readonly [string, LockKind])[] = Object.entries(FUNCTIONS).flatMap(
  ([kind, names]) => names.map((name) => [name, kind as LockKind] as const),
);

/** Slow paths in which tasks sleep, by the symbol without what compilers append to it. */
const SLOW_PATHS: readonly (readonly [RegExp, LockKind])[] = [
  [/^_*(ww_)?mutex_lock/, "mutex"],
  [/^(rwsem_down_|_*down_(read|write))/, "rwsem"],
  [/^_*down(_common|_interruptible|_killable|_timeout)?$/, "semaphore"],
];

/** Which lock a function of the core sleeps for; undefined for all others. */
export function slowPathKind(symbol: string): LockKind | undefined {
  const bare = symbol.replace(/\.(part|constprop|isra|cold|llvm).*$/, "");
  return SLOW_PATHS.find(([pattern]) => pattern.test(bare))?.[1];
}
