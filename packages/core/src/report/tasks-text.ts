// The text of `tasks` and `stack`: a line a task; frames as the kernel prints them, with a mark for how each was found.
import type { StackFact, StackResult, TaskFact, TasksResult, UnwoundFrame } from "../results/task-results.ts";
import { bare, counted, grouped, table } from "./format.ts";
import { headLines } from "./head-text.ts";
import type { Paint } from "./paint.ts";

/** How many tasks of a group are named. */
const NAMED = 6;

export function tasksText(
  result: TasksResult,
  options: { readonly tree: boolean; readonly last: boolean },
  paint: Paint,
): string {
  const lines = [...headLines(result, paint), ""];
  const rows = options.tree
    ? asTree(result.tasks)
    : ordered(result.tasks, options.last).map((task) => ({ task, depth: 0 }));
  const cells = rows.map(({ task, depth }) => [
    String(task.pid),
    task.tgid === task.pid ? "" : String(task.tgid),
    task.state,
    `${task.cpu ?? "?"}${task.running ? "*" : ""}`,
    task.since ?? "",
    `${"  ".repeat(depth)}${task.kernelThread ? `[${task.comm}]` : task.comm}`,
    task.running ? "(on the CPU)" : (task.sleepsIn ?? ""),
  ]);
  const widths = [0, 1, 2, 3, 4, 5].map((i) => Math.max(HEADS[i].length, ...cells.map((row) => row[i].length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i === 6 ? cell : i === 5 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join(" ")
      .trimEnd();
  lines.push(paint.dim(line(HEADS)), ...cells.map(line), "");
  lines.push(
    paint.dim(
      `${counted(result.tasks.length, "task")}${result.leftOut > 0 ? `, ${grouped(result.leftOut)} more not asked for` : ""}; * runs now; SINCE: seconds since it last came onto a CPU`,
    ),
  );
  for (const note of result.notes) lines.push(paint.dim(`  note: ${note}`));
  return `${lines.join("\n")}\n`;
}

const HEADS = ["PID", "TGID", "S", "CPU", "SINCE", "COMM", "SLEEPS IN"];

function ordered(tasks: readonly TaskFact[], last: boolean): readonly TaskFact[] {
  if (!last) return tasks;
  return [...tasks].sort((a, b) => Number(a.since ?? Number.MAX_VALUE) - Number(b.since ?? Number.MAX_VALUE));
}

function asTree(tasks: readonly TaskFact[]): { readonly task: TaskFact; readonly depth: number }[] {
  const children = new Map<number, TaskFact[]>();
  const known = new Set(tasks.map(({ pid }) => pid));
  const roots: TaskFact[] = [];
  for (const task of tasks) {
    const parent = task.tgid === task.pid ? task.parent : task.tgid;
    if (parent === null || parent === task.pid || !known.has(parent)) roots.push(task);
    else children.set(parent, [...(children.get(parent) ?? []), task]);
  }
  const out: { task: TaskFact; depth: number }[] = [];
  const seen = new Set<TaskFact>();
  const pending = roots.map((task) => ({ task, depth: 0 })).reverse();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (seen.has(next.task)) continue;
    seen.add(next.task);
    out.push(next);
    const { depth } = next;
    const below = children.get(next.task.pid) ?? [];
    pending.push(...below.map((task) => ({ task, depth: depth + 1 })).reverse());
  }
  return [...out, ...tasks.filter((task) => !seen.has(task)).map((task) => ({ task, depth: 0 }))];
}

export function stackText(result: StackResult, registers: boolean, paint: Paint): string {
  const lines = headLines(result, paint);
  for (const stack of result.stacks) lines.push("", ...stackLines(stack, registers, paint));
  const frames = result.stacks.flatMap(({ levels }) => levels.flatMap((level) => level.frames));
  const legend = [`frames by ${result.method}`];
  if (frames.some(({ how, checked }) => how === "scan" && checked)) {
    legend.push("~ found by scanning, its CALL leads to the frame below");
  }
  if (frames.some(({ checked }) => !checked)) legend.push("? no CALL proves it");
  lines.push("", paint.dim(legend.join("; ")));
  for (const note of result.notes) lines.push(paint.dim(`  note: ${note}`));
  return `${lines.join("\n")}\n`;
}

function stackLines({ tasks, levels, end, why }: StackFact, registers: boolean, paint: Paint): string[] {
  const [first] = tasks;
  const lines: string[] = [];
  if (tasks.length === 1) {
    const where = first.running ? `on CPU ${first.cpu ?? "?"}` : `last on CPU ${first.cpu ?? "?"}`;
    const since = first.since === null ? "" : `, since ${first.since} s`;
    lines.push(`${paint.bold(`${first.comm} (PID ${first.pid})`)}  ${first.state}, ${where}${since}`);
  } else {
    const names = tasks.slice(0, NAMED).map(({ comm, pid }) => `${comm} (${pid})`);
    const more = tasks.length > NAMED ? `, … (--json has all)` : "";
    lines.push(
      `${paint.bold(`${tasks.length} tasks`)}  ${[...new Set(tasks.map(({ state }) => state))].join("")}: ${names.join(", ")}${more}`,
    );
  }
  for (const level of levels) {
    if (level.level > 0) {
      const flag = level.interruptsOff === null ? "" : `, with interrupts ${level.interruptsOff ? "off" : "on"}`;
      lines.push(`  ${paint.dim("which interrupted")}${flag}`);
    }
    if (registers) lines.push(...registerLines(level.registers));
    let on = "";
    for (const frame of level.frames) {
      const stack =
        frame.stack !== null && frame.stack !== on && frame.stack !== "TASK"
          ? `  ${paint.dim(`<${frame.stack}>`)}`
          : "";
      on = frame.stack ?? on;
      lines.push(`    ${bare(frame.address)} ${mark(frame)}${frame.symbol}${stack}`);
    }
  }
  if (end === "user") lines.push(paint.dim(levels.length === 0 ? "    in user mode" : "    from user mode"));
  if (end === "stopped" && why !== null) lines.push(paint.dim(`    (ends here: ${why})`));
  return lines;
}

const mark = ({ how, checked }: UnwoundFrame): string => (!checked ? "? " : how === "scan" ? "~ " : "");

function registerLines(registers: Readonly<Record<string, string>>): string[] {
  const cells = Object.entries(registers).map(([name, value]) => `${name.padStart(4)} ${bare(value)}`);
  const rows: string[][] = [];
  for (let i = 0; i < cells.length; i += 3) rows.push(cells.slice(i, i + 3));
  return table(rows).map((line) => `  ${line}`);
}
