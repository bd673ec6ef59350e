// What the kernel died of by its own words: crash.panic and crash.oops. And stalls that only the log tells: notes, since the
// dump does not show them any more.
import { formatAddress } from "../bytes/brand.ts";
import { type LogEvent, type LogEventKind, wasAskedFor } from "../kernel/log/log-events.ts";
import type { HangCause } from "../results/types.ts";

const ZERO = formatAddress(0n);

function finding(
  id: HangCause["id"],
  severity: HangCause["severity"],
  event: LogEvent,
  notes: readonly string[],
): HangCause {
  const who = event.task === undefined ? "" : ` in ${event.task.comm} (PID ${event.task.pid})`;
  const cpu = event.cpu === undefined ? "" : ` on CPU ${event.cpu}`;
  const at =
    event.nanoseconds === undefined
      ? ""
      : `, ${(Number(event.nanoseconds / 1_000_000n) / 1000).toFixed(3)} s after the boot`;
  return {
    id,
    severity,
    address: ZERO,
    length: 0,
    object: "vmlinux",
    symbol: "",
    title: `${event.text}${who}${cpu}${at}`,
    notes,
    chain: [],
    behind: 0,
    source: "log",
  };
}

/** The panic, and the first oops or BUG: later ones follow from it. */
export function crashes(events: readonly LogEvent[]): HangCause[] {
  const out: HangCause[] = [];
  const panic = events.find(({ kind }) => kind === "panic");
  const asked = panic !== undefined && wasAskedFor(panic.text);
  const oopses = events.filter(({ kind }) => kind === "oops" || kind === "bug");
  const [first] = oopses;
  if (first !== undefined) {
    const more = oopses.length > 1 ? [`Later lines of this kind: ${oopses.length - 1}.`] : [];
    out.push(finding("crash.oops", "error", first, more));
  }
  if (panic !== undefined) {
    const notes = asked ? ["Somebody asked for it: it is no fault by itself."] : [];
    out.push(finding("crash.panic", asked ? "note" : "error", panic, notes));
  }
  return out;
}

const STALLS: Readonly<Partial<Record<LogEventKind, HangCause["id"]>>> = {
  "soft-lockup": "hang.soft-lockup",
  "hard-lockup": "hang.hard-lockup",
  "hung-task": "hang.hung-task",
  "rcu-stall": "hang.rcu-stall",
};

/** The first line of each kind of stall that the dump itself does not show. @param told findings from the dump's state */
export function logOnly(events: readonly LogEvent[], told: ReadonlySet<string>): HangCause[] {
  const out: HangCause[] = [];
  for (const [kind, id] of Object.entries(STALLS)) {
    const said = events.filter((event) => event.kind === kind);
    const [first] = said;
    if (first === undefined || [...told].some((each) => each.startsWith("hang."))) continue;
    const times = said.length === 1 ? "once" : `${said.length} times`;
    out.push(finding(id, "note", first, [`The log says so ${times}; the dump does not show it any more.`]));
  }
  return out;
}
