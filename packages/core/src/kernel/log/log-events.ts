// What lines of the kernel's log say about its health, by kind: who panicked, oopsed, was stuck, and on which CPU. Kinds of
// lines as the kernel's source prints them (kernel/panic.c, watchdog.c, hung_task.c, rcu/tree_stall.h, lockdep.c, x86 traps).
import type { LogRecord } from "./log-types.ts";

export type LogEventKind =
  | "panic"
  | "oops"
  | "bug"
  | "warning"
  | "soft-lockup"
  | "hard-lockup"
  | "hung-task"
  | "rcu-stall"
  | "workqueue-lockup"
  | "lockdep"
  | "sanitizer";

export interface LogEvent {
  readonly kind: LogEventKind;
  /** the line, without time and prefix */
  readonly text: string;
  readonly nanoseconds: bigint | undefined;
  readonly cpu: number | undefined;
  readonly task: { readonly comm: string; readonly pid: number } | undefined;
  /** seconds that it says it was stuck */
  readonly seconds: number | undefined;
}

interface Rule {
  readonly kind: LogEventKind;
  readonly line: RegExp;
}

/** The first that fits counts: lockdep's and the watchdog's lines have words of others in them. */
const RULES: readonly Rule[] = [
  { kind: "panic", line: /^Kernel panic - not syncing/ },
  {
    kind: "soft-lockup",
    line: /^(watchdog: )?BUG: soft lockup - CPU#(?<cpu>\d+) stuck for (?<seconds>\d+)s! \[(?<comm>.*):(?<pid>\d+)\]/,
  },
  {
    kind: "hard-lockup",
    line: /^(NMI watchdog: |watchdog: )?(Watchdog detected|CPU(?<cpu1>\d+): Watchdog detected) hard LOCKUP( on cpu (?<cpu>\d+))?/i,
  },
  {
    kind: "hung-task",
    line: /^INFO: task (?<comm>.*):(?<pid>\d+) (is )?blocked (in [\w/ ]+ )?for more than (?<seconds>\d+) seconds/,
  },
  {
    kind: "rcu-stall",
    line: /^(rcu: )?INFO: rcu\w* (self-detected stall|detected (expedited )?stalls?|\w+ kthread (starved|timer wakeup))/,
  },
  { kind: "workqueue-lockup", line: /^BUG: workqueue lockup/ },
  {
    kind: "lockdep",
    line: /^(WARNING: (possible (circular|recursive|irq|deadlock)|suspicious RCU|inconsistent lock state|bad unlock balance|held lock freed|lock held when returning|Nested lock)|BUG: (Invalid wait context|MAX_LOCK|looking up invalid subclass)|INFO: (possible|inconsistent|trying to register|suspicious))/i,
  },
  { kind: "sanitizer", line: /^(BUG: (KASAN|KMSAN|KCSAN|KFENCE)|UBSAN:)/ },
  {
    kind: "oops",
    line: /^(BUG: (unable to handle|kernel NULL pointer dereference|stack guard page was hit)|Oops(:| )|general protection fault|stack segment:|double fault:|invalid opcode:|divide error:|kernel tried to execute|traps: PANIC: double fault)/,
  },
  { kind: "bug", line: /^(kernel BUG at |BUG: (?!soft|workqueue|K))/ },
  { kind: "warning", line: /^WARNING: (CPU: \d+ PID: \d+ at |at |.* at )/ },
];

const WHO =
  /^(?:Modules linked in|CPU: (?<cpu>\d+) (?:UID: \d+ )?PID: (?<pid>\d+) Comm: (?<comm>.*?) (?:Not tainted|Tainted|Kdump))/;
/** Lines behind an event among which "CPU: 1 PID: 2 Comm: x" stands. */
const WHO_LINES = 14;
const MAX_EVENTS = 200;

/** Events, oldest first. */
export function logEvents(records: readonly LogRecord[]): LogEvent[] {
  const out: LogEvent[] = [];
  records.forEach((record, i) => {
    if (out.length >= MAX_EVENTS || (record.facility ?? 0) !== 0) return;
    const text = record.text.split("\n", 1)[0].trim();
    for (const { kind, line } of RULES) {
      const found = line.exec(text);
      if (found === null) continue;
      const { cpu, cpu1, seconds, comm, pid } = found.groups ?? {};
      const who = comm === undefined ? whoBehind(records, i) : { comm, pid: Number(pid), cpu: undefined };
      const number = cpu ?? cpu1 ?? /^WARNING: CPU: (\d+)/.exec(text)?.[1];
      out.push({
        kind,
        text,
        nanoseconds: record.nanoseconds,
        cpu: number === undefined ? who?.cpu : Number(number),
        task: who === undefined ? undefined : { comm: who.comm, pid: who.pid },
        seconds: seconds === undefined ? undefined : Number(seconds),
      });
      return;
    }
  });
  return out;
}

function whoBehind(
  records: readonly LogRecord[],
  from: number,
): { comm: string; pid: number; cpu?: number } | undefined {
  for (let i = from; i < Math.min(records.length, from + WHO_LINES); i++) {
    const { cpu, pid, comm } = WHO.exec(records[i].text.trim())?.groups ?? {};
    if (cpu !== undefined && pid !== undefined && comm !== undefined)
      return { comm, pid: Number(pid), cpu: Number(cpu) };
  }
  return undefined;
}

/** A panic that somebody asked for: SysRq c, the NMI button, a crash key. */
export function wasAskedFor(text: string): boolean {
  return /sysrq triggered crash|Crash triggered by (SysRq|user)|NMI: Not continuing|An NMI occurred|NMI IOCK error: Not|unknown NMI|LKDTM|panic via|Manually triggered/i.test(
    text,
  );
}
