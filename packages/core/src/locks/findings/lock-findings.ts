// All that `diagnose` tells about locks. The words of locks that somebody waits for are looked at always; those of all other
// locks only when one of these is wrong, since finding them takes a pass over all code.

import type { Kernel } from "../../kernel/kernel.ts";
import type { Finding } from "../../results/types.ts";
import { awaitedFacts, surveyedLocks } from "../find/lock-list.ts";
import type { AuditedObject } from "../types.ts";
import { lockStateFindings } from "./impossible.ts";
import { surveyLocks } from "./lock-survey.ts";

/** lock.mixed, slot.late-write, lock.impossible and hang.deadlock. */
export function lockFindings(kernel: Kernel, objects: readonly AuditedObject[]): Finding[] {
  const survey = surveyLocks(kernel, objects);
  const { state, findings } = survey;
  const awaited = awaitedFacts(state);
  if (awaited.some((lock) => lock.state === "impossible")) return [...surveyedLocks(state, survey).findings];
  return [...findings, ...lockStateFindings(state, awaited, findings)];
}
