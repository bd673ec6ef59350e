// `diagnose` and `audit`: all checks, and the account of every byte.
import { auditResult } from "../audit/result.ts";
import { lockFindings } from "../locks/findings/lock-findings.ts";
import { LockState } from "../locks/lock-state.ts";
import type { AuditResult, DiagnoseResult } from "../results/results.ts";
import { withBootSteps } from "./boot-steps.ts";
import { eventsOf, hangsOf } from "./hangs.ts";
import type { Parts } from "./parts.ts";
import { type ProveChoice, provePairs } from "./prove-pairs.ts";
import { triageOf } from "./sys.ts";
import { TOOL } from "./version.ts";

/** The account of every byte, by object, mechanism and verdict. */
export async function auditOf(parts: Parts): Promise<AuditResult> {
  return auditResult("palimpsest/audit/1", TOOL, parts.kernel, await parts.audit());
}

/**
 * All checks: the account, what is wrong with locks, and what the dump's lock code does in every order.
 * @param prove which pairs of lock and unlock are run; default all
 */
export async function diagnosisOf(parts: Parts, prove: ProveChoice = "all"): Promise<DiagnoseResult> {
  const { kernel } = parts;
  const audit = await parts.audit();
  const locks = lockFindings(kernel, audit.objects);
  await parts.giveWay();
  const proved = provePairs(kernel, audit, prove);
  const { core } = await parts.images();
  const state = new LockState(kernel);
  const events = eventsOf(kernel);
  const hangs = hangsOf(state, events, locks);
  const steps = withBootSteps([...hangs.findings, ...locks, ...proved.findings], core, audit.kaslrOffset);
  const told = { ...audit, problems: [...audit.problems, ...proved.notes, ...steps.problems, ...hangs.problems] };
  const account = auditResult("palimpsest/diagnose/1", TOOL, kernel, told, steps.findings);
  return { ...account, triage: triageOf(state, events), proofs: proved.proofs };
}
