// Boots one candidate after the other until the first bad one is known. Answers are kept in a file as they come, so that a
// search that was stopped goes on; what emulation takes away is skipped, never called bad.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { LabError, UnavailableError } from "../errors.ts";
import { makeDump } from "../make-dump.ts";
import { palimpsest } from "../measure.ts";
import { type BatchSettings, runGuests } from "../xen/runs.ts";
import type { Outcome, XenGuest } from "../xen/types.ts";
import { type Answer, nextStep } from "./bisection.ts";
import type { Candidate } from "./candidates.ts";

/** What one candidate did. */
export interface Trial {
  readonly name: string;
  readonly answer: Answer;
  readonly outcome: Outcome | "unavailable";
  readonly findings: readonly string[];
  /** The folder with core and diagnosis, when there is one. */
  readonly folder: string | undefined;
  readonly reason: string;
}

export interface BisectSettings {
  readonly on: "xen" | "qemu";
  readonly guest: XenGuest;
  /** A candidate is bad when its core has this finding; when undefined, when it does not boot. */
  readonly finding: string | undefined;
  /** Where the answers are kept. */
  readonly state: string;
  readonly xen: BatchSettings;
}

export type BisectEnd =
  | { readonly kind: "found"; readonly lastGood: Trial | undefined; readonly suspects: readonly Trial[] }
  | { readonly kind: "failed"; readonly reason: string };

/** Good or bad, from what a trial showed. Pure. */
export function judgeTrial(
  outcome: Outcome,
  findings: readonly string[] | undefined,
  finding: string | undefined,
): Answer {
  if (outcome === "emulation") return "skip";
  if (finding === undefined) return outcome === "booted" ? "good" : "bad";
  if (findings === undefined) return "skip";
  return findings.some((id) => id === finding || id.startsWith(`${finding}.`)) ? "bad" : "good";
}

/** Searches `list` between `good` and `bad`; `done` hears of each trial. */
export async function runBisect(
  list: readonly Candidate[],
  good: number,
  bad: number,
  settings: BisectSettings,
  note: (line: string) => void,
  done: (trial: Trial) => void,
): Promise<BisectEnd> {
  const trials = readState(settings.state);
  for (;;) {
    const known = list.map(({ name }) => trials.find((trial) => trial.name === name));
    const answers = new Map(known.flatMap((trial, index) => (trial ? [[index, trial.answer] as const] : [])));
    const step = nextStep({ count: list.length, good, bad, answers });
    if (step.kind === "contradiction") return { kind: "failed", reason: step.reason };
    if (step.kind === "found") {
      const suspects = step.suspects.flatMap((index) => known[index] ?? []);
      return { kind: "found", lastGood: known[step.lastGood], suspects };
    }
    note(`bisect: ${list[step.index].name}, about ${step.left} to go`);
    const trial = await tryOne(list[step.index], settings, note);
    trials.push(trial);
    mkdirSync(dirname(settings.state), { recursive: true });
    writeFileSync(settings.state, `${JSON.stringify(trials, null, 1)}\n`);
    done(trial);
  }
}

function readState(file: string): Trial[] {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Trial[]) : [];
}

async function tryOne(candidate: Candidate, settings: BisectSettings, note: (line: string) => void): Promise<Trial> {
  try {
    return settings.on === "xen" ? await onXen(candidate, settings, note) : await underQemu(candidate, settings, note);
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    return {
      name: candidate.name,
      answer: "skip",
      outcome: "unavailable",
      findings: [],
      folder: undefined,
      reason: error.message,
    };
  }
}

async function onXen(candidate: Candidate, settings: BisectSettings, note: (line: string) => void): Promise<Trial> {
  const wanted = [{ kernel: await candidate.kernel(note), guest: candidate.guest(settings.guest) }];
  let trial: Trial | undefined;
  await runGuests(wanted, settings.xen, note, (_, result) => {
    if (result.kind === "lost") {
      const reason = result.tries.at(-1)?.reason ?? "";
      trial = { name: candidate.name, answer: "skip", outcome: "emulation", findings: [], folder: undefined, reason };
      return;
    }
    const { facts, diagnosed, folder } = result.run;
    const { outcome, reason } = facts.result;
    const findings = diagnosed.trouble === undefined ? diagnosed.findings : undefined;
    const answer = judgeTrial(outcome, findings, settings.finding);
    trial = { name: candidate.name, answer, outcome, findings: diagnosed.findings, folder, reason };
  });
  if (!trial) throw new LabError(`${candidate.name}: the run ended without a word`);
  return trial;
}

/** Plain QEMU: a guest that never gets ready leaves no dump, and no finding then. */
async function underQemu(candidate: Candidate, settings: BisectSettings, note: (line: string) => void): Promise<Trial> {
  const { name } = candidate;
  const kernel = await candidate.kernel(note);
  const guest = candidate.guest(settings.guest);
  if (!kernel.cached) throw new LabError(`${name}: kernels from files are booted with --on xen`);
  const options = {
    cpus: guest.vcpus,
    memoryMegabytes: guest.memoryMegabytes,
    append: guest.append,
    modules: ["qemu_fw_cfg", ...guest.modules],
  };
  let folder: string;
  try {
    folder = (await makeDump(kernel.cached, options, note)).folder;
  } catch (error) {
    if (!(error instanceof LabError) || error instanceof UnavailableError) throw error;
    return {
      name,
      answer: judgeTrial("hung", undefined, settings.finding),
      outcome: "hung",
      findings: [],
      folder: undefined,
      reason: error.message,
    };
  }
  const { stdout } = await palimpsest(["diagnose", join(folder, "vmcore.elf"), "--json"], 240);
  const findings = findingsOf(stdout);
  const answer = judgeTrial("booted", findings, settings.finding);
  return { name, answer, outcome: "booted", findings: findings ?? [], folder, reason: "ready" };
}

/** Ids of the findings of `diagnose --json`; undefined when that is no report. */
export function findingsOf(json: string): string[] | undefined {
  try {
    const report: unknown = JSON.parse(json);
    const findings =
      typeof report === "object" && report !== null && "findings" in report ? report.findings : undefined;
    if (!Array.isArray(findings)) return undefined;
    return [...new Set(findings.flatMap((finding: unknown) => idOf(finding)))];
  } catch {
    return undefined;
  }
}

function idOf(finding: unknown): string[] {
  const id = typeof finding === "object" && finding !== null && "id" in finding ? finding.id : undefined;
  return typeof id === "string" ? [id] : [];
}
