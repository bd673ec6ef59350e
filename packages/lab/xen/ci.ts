// The part of this that CI has time for: one HVM guest on real Xen, its core, its diagnosis. A failure of the emulation is
// told from a failure of the product, since the first says nothing about a change.
import type { Diagnosed } from "./diagnose-run.ts";
import { xenMatrix } from "./matrix.ts";
import type { GuestKernel } from "./prepare.ts";
import { type BatchResult, runGuests } from "./runs.ts";
import type { XenFacts } from "./types.ts";

/** 0 passed, 1 the product failed, 3 emulation took every try away. */
export interface CiVerdict {
  readonly exitCode: 0 | 1 | 3;
  readonly words: string;
}

/** A session that has less than this left is not worth starting: Xen and dom0 alone take half a minute. */
const WORTHWHILE_SECONDS = 150;

/** Runs the row that CI has, again and again until it came to an end or `seconds` are over. */
export async function runCi(kernel: GuestKernel, seconds: number, note: (line: string) => void): Promise<CiVerdict> {
  const row = xenMatrix[0];
  const until = Date.now() + seconds * 1000;
  let last: BatchResult | undefined;
  let tries = 0;
  for (let left = seconds; left > WORTHWHILE_SECONDS; left = (until - Date.now()) / 1000) {
    tries++;
    const settings = { xenArguments: "", outer: false, fresh: true, tries: 1, limitSeconds: left };
    await runGuests([{ kernel, guest: row.guest }], settings, note, (_, result) => {
      last = result;
    });
    if (last?.kind !== "run") continue;
    const verdict = judgeCi(last.run.facts, last.run.diagnosed);
    if (verdict.exitCode !== 3) return verdict;
    note(verdict.words);
  }
  return { exitCode: 3, words: `emulation: ${tries} tries in ${seconds} s, none came to an end` };
}

/**
 * A healthy kernel's guest. One that hung without any finding in its core is emulation's: a vector was lost, and every vCPU
 * sleeps. One with a finding, without a diagnosis, or with other registers than xl's, is the product's.
 */
export function judgeCi(facts: Pick<XenFacts, "result" | "type">, diagnosed: Diagnosed): CiVerdict {
  const { outcome, reason } = facts.result;
  const wrong = [
    ...(diagnosed.trouble === undefined ? [] : [`no diagnosis: ${diagnosed.trouble}`]),
    ...diagnosed.findings,
    ...(diagnosed.complete || diagnosed.trouble !== undefined ? [] : ["the account is not complete"]),
    ...(diagnosed.ripsAgree === false ? ["the dump's registers are not xl's"] : []),
    ...(diagnosed.hypervisor === `Xen ${facts.type.toUpperCase()}` ? [] : [`info says ${diagnosed.hypervisor}`]),
  ];
  if (wrong.length > 0)
    return { exitCode: 1, words: `the product failed on a guest that ${outcome}: ${wrong.join("; ")}` };
  if (outcome === "booted") return { exitCode: 0, words: "booted, dumped, diagnosed: no finding" };
  return { exitCode: 3, words: `emulation: ${outcome}: ${reason}, and nothing in the core tells why` };
}
