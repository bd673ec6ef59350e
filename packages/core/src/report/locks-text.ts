// The text of `locks`.
import type { ImplementationFact, LockFact, LocksResult, WaitingFact } from "../results/lock-results.ts";
import { findingLines } from "./finding-text.ts";
import { bare, counted, grouped } from "./format.ts";
import { headLines } from "./head-text.ts";
import type { Paint } from "./paint.ts";

/** The whole text. */
export function locksText(result: LocksResult, paint: Paint): string {
  const lines = [...headLines(result, paint), ""];
  if (result.asked === null) {
    lines.push(summary(result), "");
  }
  for (const lock of result.locks) lines.push(...lockLines(lock, paint), "");
  if (result.implementations.length > 0) {
    lines.push(paint.bold("What lock sites run"), ...implementationLines(result.implementations), "");
  }
  if (result.slots.length > 0) {
    lines.push(paint.bold("Slots now"));
    const width = Math.max(...result.slots.map((slot) => slot.name.length));
    const wide = Math.max(...result.slots.map((slot) => slot.symbol.length));
    for (const { name, symbol, implementation, hypervisor } of result.slots) {
      const who = hypervisor === null || implementation?.includes(hypervisor) ? "" : hypervisor;
      const what = [implementation ?? "", who].filter((part) => part !== "").join(", ");
      lines.push(`  ${name.padEnd(width)}  ${what === "" ? symbol : `${symbol.padEnd(wide)}  ${paint.dim(what)}`}`);
    }
    lines.push("");
  }
  if (result.findings.length > 0) lines.push(`${counted(result.findings.length, "finding")}.`, "");
  for (const finding of result.findings) lines.push(...findingLines(finding, paint), "");
  for (const { object, reason } of result.notChecked) lines.push(paint.yellow(`  not checked: ${object}: ${reason}`));
  for (const note of result.notes) lines.push(paint.dim(`  note: ${note}`));
  return `${lines.join("\n").trimEnd()}\n`;
}

function summary({ locks, looked, findings, untold, withoutRegisters }: LocksResult): string {
  const of = `of ${grouped(looked)} that code, types and waiters name`;
  if (locks.length === 0) {
    if (untold > 0)
      return `${counted(untold, "CPU waits", "CPUs wait")} for a lock that nothing tells. None ${of} is held.`;
    if (withoutRegisters === 0) return `No lock is held, ${of}.`;
    const whose = withoutRegisters === null ? "of CPUs" : `of ${counted(withoutRegisters, "CPU")}`;
    return `None ${of} is held; whether a CPU waits is not known without the registers ${whose}.`;
  }
  const impossible = locks.filter((lock) => lock.state === "impossible").length;
  const clean = impossible === 0 && findings.length === 0 ? "; none is in an impossible state" : "";
  return `${counted(locks.length, "lock is", "locks are")} held or waited for, ${of}${clean}.`;
}

function lockLines(lock: LockFact, paint: Paint): string[] {
  const state =
    lock.state === "impossible"
      ? paint.red(lock.state)
      : lock.state === "contended"
        ? paint.yellow(lock.state)
        : lock.state;
  const name = lock.symbol === "" ? "" : `${paint.bold(lock.symbol)}  `;
  const lines = [`${state}  ${name}${bare(lock.address)}  ${lock.type}`];
  const row = (title: string, text: string): void => {
    lines.push(`    ${title.padEnd(8)}  ${text}`);
  };
  row("bytes", lock.bytes);
  const fields = Object.entries(lock.fields).map(([field, value]) => `${field} ${value}`);
  if (fields.length > 0) row("fields", fields.join(", "));
  row("meaning", lock.meaning);
  if (lock.owner !== undefined) row("owner", `${taskText(lock.owner)}, task_struct ${bare(lock.owner.address)}`);
  lock.waiters.forEach((waiter, i) => {
    row(i === 0 ? "waiting" : "", waitingText(waiter));
    const callers = waiter.callers ?? [];
    if (callers.length > 0) row("", paint.dim(`  from ${callers.join(" ← ")}`));
  });
  for (const problem of lock.problems) {
    if (!lock.meaning.includes(problem)) row("problem", paint.yellow(problem));
  }
  for (const fit of lock.fits ?? []) row("fits", `--type ${fit.option}: ${fit.type}, ${fit.meaning}`);
  row("known by", paint.dim(lock.evidence));
  return lines;
}

const taskText = ({ comm, pid }: { readonly comm: string; readonly pid: number }): string =>
  pid < 0 ? "no task" : `${comm} (PID ${pid})`;

function waitingText(waiter: WaitingFact): string {
  const who = [
    waiter.cpu === undefined ? "" : `CPU ${waiter.cpu}`,
    waiter.task === undefined ? "" : taskText(waiter.task),
    waiter.kind ?? "",
    waiter.ticket === undefined ? "" : `ticket ${waiter.ticket}`,
    waiter.node === undefined ? "" : `MCS node ${waiter.node}`,
    waiter.guess ? "a guess" : "",
  ].filter((part) => part !== "");
  const how = waiter.asleep ? " asleep" : "";
  const at = waiter.at === undefined || waiter.at === "" ? "" : `${how} in ${waiter.at}`;
  return `${who.join(", ")}${at}${waiter.interruptsOff ? ", interrupts off" : ""}`;
}

function implementationLines(facts: readonly ImplementationFact[]): string[] {
  const width = (key: "role" | "implementation" | "function"): number =>
    Math.max(...facts.map((fact) => fact[key].length));
  const [role, implementation, name] = [width("role"), width("implementation"), width("function")];
  return facts.map((fact) => {
    const objects = Object.entries(fact.byObject).sort(([, a], [, b]) => b - a);
    const shown = objects.slice(0, 6).map(([object, sites]) => `${grouped(sites)} in ${object}`);
    const more = objects.length > 6 ? `, ${objects.length - 6} more objects` : "";
    return `  ${fact.role.padEnd(role)}  ${fact.implementation.padEnd(implementation)}  ${fact.function.padEnd(name)}  ${shown.join(", ")}${more}`.trimEnd();
  });
}
