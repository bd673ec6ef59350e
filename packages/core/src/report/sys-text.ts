// The text of `sys`, and the lines with which `diagnose` begins: only what is known, nothing of what is as it should be.
import type { SysResult } from "../results/sys-results.ts";
import type { Triage, TriageEvents } from "../results/triage.ts";
import { counted, size } from "./format.ts";
import { headLines } from "./head-text.ts";
import type { Paint } from "./paint.ts";

const WIDTH = 80;

/** The whole text. */
export function sysText(result: SysResult, paint: Paint): string {
  const lines = [...headLines(result, paint), "", ...triageLines(result.triage, paint)];
  for (const note of result.notes) lines.push(paint.dim(`  note: ${note}`));
  return `${lines.join("\n")}\n`;
}

/** One screen of them. */
export function triageLines(triage: Triage, paint: Paint): string[] {
  const { taint, events, spinning, uninterruptible, uninterruptibleLeftOut: more } = triage;
  const rows: [string, string][] = [
    ["node", triage.node === "(none)" ? "" : (triage.node ?? "")],
    ["machine", [triage.hardware, triage.memory === null ? null : size(triage.memory)].filter(Boolean).join(", ")],
    [
      "date",
      [triage.date, triage.uptime === null ? null : `${upText(triage.uptime)} after the boot`]
        .filter(Boolean)
        .join(", "),
    ],
    ["load", triage.load?.join(", ") ?? ""],
    ["CPUs", cpusText(triage)],
    ["tasks", `${triage.tasks.count}: ${statesText(triage.tasks.states)}`],
    [
      "taint",
      taint === null
        ? ""
        : taint.length === 0
          ? "none"
          : taint.map(({ letter, meaning }) => `${letter} (${meaning})`).join(", "),
    ],
  ];
  const lines = rows
    .filter(([, value]) => value !== "")
    .flatMap(([name, value]) => wrapped(`  ${name.padEnd(8)}  `, value));
  for (const event of events) lines.push(...wrapped(`  ${"log".padEnd(8)}  `, eventText(event)));
  for (const { cpu, task, kind, lock, holder, holderUnknown } of spinning) {
    const who = task === null ? "" : ` [${task.comm} (PID ${task.pid})]`;
    const what =
      lock === null ? `a ${kind} that nothing tells` : `the ${kind} ${lock.symbol === "" ? lock.address : lock.symbol}`;
    const has =
      holder !== null
        ? `, which ${holder} has`
        : lock === null
          ? ""
          : holderUnknown === null
            ? ", which nobody has"
            : `; who has it is not known: ${holderUnknown}`;
    lines.push(...wrapped(`  ${paint.yellow("spins".padEnd(8))}  `, `CPU ${cpu}${who} for ${what}${has}`, 12));
  }
  for (const { pid, comm, since, sleepsIn } of uninterruptible) {
    const time = since === null ? "" : ` for ${since} s`;
    const place = sleepsIn === null ? "" : ` in ${sleepsIn}`;
    lines.push(...wrapped(`  ${"in D".padEnd(8)}  `, `${comm} (PID ${pid})${time}${place}`));
  }
  if (more > 0) lines.push(`${" ".repeat(12)}and ${counted(more, "more task")}: palimpsest tasks DUMP --state D`);
  return lines;
}

function eventText({ kind, count, text, time, cpu, task }: TriageEvents): string {
  const where = [
    time === null ? "" : `at ${time} s`,
    cpu === null ? "" : `on CPU ${cpu}`,
    task === null ? "" : `in ${task.comm} (PID ${task.pid})`,
  ].filter((part) => part !== "");
  return `${kind}${count > 1 ? ` (${count} times, first)` : ""}: ${text}${where.length === 0 ? "" : `; ${where.join(" ")}`}`;
}

function cpusText({ cpus: { online, possible } }: Triage): string {
  if (online.length === 0) return "";
  const off = Array.from({ length: Math.min(possible ?? 0, 8192) }, (_, cpu) => cpu).filter(
    (cpu) => !online.includes(cpu),
  );
  return `${online.length} online${off.length === 0 ? "" : `; ${off.length} possible but offline`}`;
}

const WORDS: Readonly<Record<string, string>> = {
  R: "runnable",
  S: "asleep",
  D: "uninterruptible",
  I: "idle kernel threads",
  Z: "zombies",
  X: "dead",
  T: "stopped",
  t: "traced",
  P: "parked",
};

function statesText(states: Readonly<Record<string, number>>): string {
  return Object.entries(states)
    .sort((a, b) => b[1] - a[1])
    .map(([letter, count]) => `${count} ${WORDS[letter] ?? "in a state that is not known"}`)
    .join(", ");
}

/** "1 day 02:03:04", "00:12:33" */
function upText(seconds: string): string {
  const whole = Math.floor(Number(seconds));
  const days = Math.floor(whole / 86400);
  const clock = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
  return days === 0 ? clock : `${counted(days, "day")} ${clock}`;
}

/** Words on lines of 80 columns, the later ones below the first. */
function wrapped(head: string, text: string, indent = head.length): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each, i) => (i === 0 ? head : " ".repeat(indent)) + each);
}
