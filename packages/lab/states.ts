// What a guest does before its memory is taken: each state is a piece of shell for busybox and the words by which
// the guest shows that the state took. A state that silently did not take would make a dump that proves nothing.
// BPF programs and livepatches are not among them: busybox cannot load the one, Debian ships no module of the other.
import { galleryStates } from "./gallery.ts";
import type { GuestState } from "./state-types.ts";

export type { GuestState };

const middle = (name: string) => Array.from({ length: 24 }, (_, i) => `${name}+${i + 5}`).join(" ");

/** A probe at a function's entry (through ftrace) and probes inside two functions, at the first instruction that takes one. */
const setProbes = `
probe lab_entry p do_sys_openat2 do_filp_open vfs_open
probe lab_read p ${middle("vfs_read")}
probe lab_write p ${middle("vfs_write")}
echo 1 > $T/events/kprobes/enable`;

/**
 * Loads a module that makes other CPUs spin for good, with interrupts off. The shell, the tasks that it starts and all
 * device interrupts keep to CPU 0 then, which goes on. Waits for the module to set `parameter`.
 */
const loadThenWait = (module: string, parameter: string, options = "") => `
taskset -p 1 $$ >/dev/null; for f in /proc/irq/*/smp_affinity; do echo 1 > $f; done 2>/dev/null
insmod /mod/${module}.ko ${options}
p=/sys/module/${module}/parameters/${parameter}
n=0; while [ $n -lt 240 ] && [ "$(cat $p)" = 0 ]; do sleep 0.5; n=$((n+1)); done`;

const lateUser = (state: string, options: string) => `${loadThenWait("late_user", "outcome", options)}
check ${state} $(grep -c '^late_switch ' /proc/modules) $(cat $p)`;

const lateSwitch = (state: string, options: string) => `insmod /mod/late_switch.ko
${lateUser(state, options)}`;

const toggleLoop = (name: string, on: string, off: string) =>
  `( n=0; while :; do ${on}; ${off}; n=$((n+1)); echo $n > /tmp/${name}; done ) >/dev/null 2>&1 &`;

export const guestStates = {
  plain: { about: "freshly booted", script: "check plain yes", took: /^yes$/ },
  function: {
    about: "the function tracer on every function",
    script: `echo function > $T/current_tracer; check function $(cat $T/current_tracer)`,
    took: /^function$/,
  },
  graph: {
    about: "the function_graph tracer",
    script: `echo function_graph > $T/current_tracer; check graph $(cat $T/current_tracer)`,
    took: /^function_graph$/,
  },
  filter: {
    about: "the function tracer on vfs_* only",
    script: `echo 'vfs_*' > $T/set_ftrace_filter; echo function > $T/current_tracer
check filter $(cat $T/current_tracer) $(grep -c vfs_ $T/set_ftrace_filter)`,
    took: /^function [1-9]\d+$/,
  },
  kprobe: {
    about: "kprobes: at an entry through ftrace, and inside functions, jump-optimised",
    script: `${setProbes}
n=0; while [ $n -lt 60 ] && ! grep -q OPTIMIZED $K; do sleep 0.3; n=$((n+1)); done
check kprobe $(grep -c FTRACE $K) $(grep -c OPTIMIZED $K)`,
    took: /^[1-9]\d* [1-9]\d*$/,
  },
  "kprobe-int3": {
    about: "the same kprobes with optimisation off: int3 inside functions",
    script: `echo 0 > /proc/sys/debug/kprobes-optimization${setProbes}
check kprobe-int3 $(grep -c lab_ $T/kprobe_events) $(grep -c OPTIMIZED $K)`,
    took: /^[23] 0$/,
  },
  kretprobe: {
    about: "return probes on two functions",
    script: `probe lab_return r vfs_write; probe lab_return2 r do_sys_openat2 do_filp_open vfs_open
echo 1 > $T/events/kprobes/enable; check kretprobe $(grep -c '^r' $T/kprobe_events)`,
    took: /^2$/,
  },
  events: {
    about: "trace events and scheduler statistics on: static keys and static calls flipped",
    script: `echo 1 > /proc/sys/kernel/sched_schedstats
for e in sched/sched_switch sched/sched_waking irq/irq_handler_entry timer/hrtimer_start kmem/kmalloc raw_syscalls/sys_enter; do
  echo 1 > $T/events/$e/enable; done
check events $(cat /proc/sys/kernel/sched_schedstats) $(grep -c . $T/set_event)`,
    took: /^1 ([5-9]|1\d)$/,
  },
  toggle: {
    about: "a static key, the tracer and a module switched on and off in a loop, for dumps taken in the middle of it",
    // Some 5,000 functions: with all of them the tracer alone takes emulation a minute a turn, and the module starves.
    script: `echo 1 > /proc/sys/kernel/printk; echo 's*' > $T/set_ftrace_filter
${toggleLoop("key", "echo 1 > /proc/sys/kernel/sched_schedstats", "echo 0 > /proc/sys/kernel/sched_schedstats")}
${toggleLoop("tracer", "echo function > $T/current_tracer", "echo nop > $T/current_tracer")}
${toggleLoop("module", "rmmod loop", "insmod /mod/loop.ko")}
n=0; while [ $n -lt 120 ] && ! [ -s /tmp/key -a -s /tmp/tracer -a -s /tmp/module ]; do sleep 0.5; n=$((n+1)); done
check toggle $(cat /tmp/key) $(cat /tmp/tracer) $(cat /tmp/module)`,
    took: /^\d+ \d+ \d+$/,
  },
  hotplug: {
    about: "every CPU but the first taken offline and brought back",
    script: `for c in $C/cpu[1-9]*/online; do echo 0 > $c; done
for c in $C/cpu[1-9]*/online; do echo 1 > $c; done
check hotplug $(cat $C/online) $(cat $C/present)`,
    took: /^(\d+-\d+) \1$/,
  },
  offline: {
    about: "every CPU but the first taken offline",
    script: `for c in $C/cpu[1-9]*/online; do echo 0 > $c; done; check offline $(cat $C/online)`,
    took: /^0$/,
  },
  "offline-one": {
    about: "CPU 1 taken offline: of the CPUs behind it the numbers are no longer the positions",
    script: `echo 0 > $C/cpu1/online; check offline-one $(cat $C/online)`,
    took: /^0,2(-\d+)?$/,
  },
  online: {
    about: "every CPU brought online (for a boot with maxcpus=1, patched as a uniprocessor)",
    script: `b=$(cat $C/online); for c in $C/cpu[1-9]*/online; do echo 1 > $c; done; check online $b $(cat $C/online) $(cat $C/present)`,
    took: /^0 (\d+-\d+) \1$/,
  },
  unload: {
    about: "xfs and floppy removed, floppy loaded once more",
    script: `rmmod xfs; rmmod floppy; insmod /mod/floppy.ko; rmmod loop
check unload $(grep -c '^xfs ' /proc/modules) $(grep -c '^floppy ' /proc/modules) $(grep -c '^loop ' /proc/modules)`,
    took: /^0 [01] 0$/,
  },
  "lock-states": {
    about: "locks of every type free, held, and waited for by tasks and by CPUs; takes five CPUs",
    own: ["lock_states"],
    script: `${loadThenWait("lock_states", "ready")}; check lock-states $(cat $p || echo "needs five CPUs")`,
    took: /^[12]$/,
  },
  "late-user": {
    about: "a module with lock sites of its own, and contention there; the lock slots stay as they are",
    own: ["late_user"],
    script: lateUser("late-user", "contend=1"),
    took: /^0 3$/,
  },
  "late-switch": {
    about: "the lock slots changed after boot, then a module with lock sites of its own loaded",
    own: ["late_switch", "late_user"],
    script: lateSwitch("late-switch", ""),
    took: /^1 3$/,
  },
  "late-switch-hang": {
    about: "the same, and CPU 2 waits at such a site for a lock that the core released: for ever",
    own: ["late_switch", "late_user"],
    script: lateSwitch("late-switch-hang", "contend=1"),
    took: /^1 4$/,
  },
  "busy-interrupt": {
    about: "CPU 1 spins inside a hard interrupt, CPU 2 inside a softirq, for good; takes three CPUs",
    own: ["busy_interrupt"],
    script: `taskset -p 1 $$ >/dev/null; insmod /mod/busy_interrupt.ko
n=0; while [ $n -lt 120 ] && [ "$(cat /sys/module/busy_interrupt/parameters/spinning)" != 2 ]; do sleep 0.5; n=$((n+1)); done
check busy-interrupt $(cat /sys/module/busy_interrupt/parameters/spinning)`,
    took: /^2$/,
  },
  kdump: {
    about: "a crash kernel loaded, which writes the dump once the guest has panicked (by SysRq c): a real kdump",
    script: `kexec -p /boot/vmlinuz --initrd=/boot/crash.gz --append="console=ttyS0 nr_cpus=1 reset_devices no_timer_check"
check kdump $(cat /sys/kernel/kexec_crash_loaded)`,
    took: /^1$/,
    panic: "echo c > /proc/sysrq-trigger",
  },
  "kdump-nmi": {
    about: "the same, and the panic comes by an NMI from outside, on the CPU that takes it first",
    script: `echo 1 > /proc/sys/kernel/unknown_nmi_panic
kexec -p /boot/vmlinuz --initrd=/boot/crash.gz --append="console=ttyS0 nr_cpus=1 reset_devices no_timer_check"
check kdump-nmi $(cat /sys/kernel/kexec_crash_loaded)`,
    took: /^1$/,
    panic: "say nmi",
  },
  ...galleryStates,
} as const satisfies Readonly<Record<string, GuestState>>;

export type StateName = keyof typeof guestStates;

/** The lab's own modules that these states load, each once. */
export function ownModulesOf(states: readonly StateName[]): string[] {
  const each = states.flatMap((state) => (guestStates[state] as GuestState).own ?? []);
  return [...new Set(each)];
}

/** What makes a guest in these states panic; undefined when none does. */
export function panicOf(states: readonly StateName[]): string | undefined {
  return states.map((state) => (guestStates[state] as GuestState).panic).find((panic) => panic !== undefined);
}

/** True for the name of a state. */
export function isStateName(name: string): name is StateName {
  return Object.hasOwn(guestStates, name);
}
