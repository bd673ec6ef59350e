// The text of `cpus`: a paragraph for each CPU, its frames as the kernel prints them ("? " before what could not be checked).
import type { CpuFact, CpuLockWait, CpusResult } from "../results/cpus-results.ts";
import { bare } from "./format.ts";
import { headLines } from "./head-text.ts";
import type { Paint } from "./paint.ts";

/** @param registers all registers, not only rip, rsp and rflags */
export function cpusText(result: CpusResult, registers: boolean, paint: Paint): string {
  const lines = headLines(result, paint);
  for (const cpu of result.cpus) lines.push("", ...cpuLines(cpu, registers, paint));
  if (result.cpus.length === 0) lines.push("", "The dump has no registers, and the kernel does not tell its CPUs.");
  for (const note of result.notes) lines.push(paint.dim(`  note: ${note}`));
  return `${lines.join("\n")}\n`;
}

function cpuLines(cpu: CpuFact, all: boolean, paint: Paint): string[] {
  const task = cpu.task === null ? "task unknown" : `${cpu.task.comm} (PID ${cpu.task.pid})`;
  const facts = [task, ...stateWords(cpu)];
  const lines = [`${paint.bold(`CPU ${cpu.cpu}`)}  ${facts.join(", ")}`];
  const { registers: r } = cpu;
  if (cpu.mode === "not-started") return lines;
  if (r.rip === undefined) return [...lines, "  its registers are not in the dump"];
  lines.push(`  rip ${bare(r.rip)} ${cpu.symbol ?? ""}`, `  rsp ${bare(r.rsp)}  rflags ${bare(r.rflags)}`);
  if (all) lines.push(...registerLines(r));
  for (const level of cpu.levels) {
    if (level.level > 0) {
      lines.push(`  ${paint.dim("which interrupted")}, with interrupts ${level.interruptsOff ? "off" : "on"}`);
      if (all) lines.push(...registerLines(level.registers));
    }
    for (const frame of level.frames) {
      lines.push(`    ${bare(frame.address)} ${frame.checked ? "" : "? "}${frame.symbol}`);
    }
    for (const wait of cpu.waits) if (wait.level === level.level) lines.push(`  ${paint.yellow(waitText(wait))}`);
  }
  return lines;
}

function stateWords(cpu: CpuFact): string[] {
  const words: string[] = [];
  if (cpu.online === false) words.push("offline");
  if (cpu.mode === "not-started") return ["not started by the kernel"];
  if (cpu.mode === "user") words.push("in user mode");
  if (cpu.mode === "outside") words.push("in no code of core or modules");
  if (cpu.mode !== null && cpu.mode !== "user") words.push(`interrupts ${cpu.interruptsOff ? "off" : "on"}`);
  return words;
}

function registerLines(registers: Readonly<Record<string, string>>): string[] {
  const shown = Object.entries(registers).filter(([name]) => !["rip", "rsp", "rflags"].includes(name));
  const lines: string[] = [];
  for (let i = 0; i < shown.length; i += 4) {
    lines.push(
      `  ${shown
        .slice(i, i + 4)
        .map(([name, value]) => `${name.padStart(4)} ${bare(value)}`)
        .join("  ")}`,
    );
  }
  return lines;
}

function waitText(wait: CpuLockWait): string {
  const what = wait.kind === "spinlock" ? "spinlock" : `rwlock, to ${wait.kind},`;
  const symbol = wait.lock === null || wait.lock.symbol === "" ? "" : `${wait.lock.symbol} `;
  const lock = wait.lock === null ? "that nothing tells" : `${symbol}at ${bare(wait.lock.address)}`;
  const ticket = wait.ticket === null ? "" : `, with ticket ${wait.ticket}`;
  const asleep = wait.asleep ? ", asleep in the hypervisor until it is woken" : "";
  const evidence = wait.lock === null ? "" : wait.proved ? `, told by ${wait.evidence}` : `: ${wait.evidence}`;
  return `waits for the ${wait.implementation} ${what} ${lock}${ticket}${asleep}${evidence}`;
}
