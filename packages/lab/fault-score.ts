// Holds the findings of an audit against the faults that were put in: each found at its address with its verdict, and
// nothing else reported.
import type { DumpAudit } from "../core/src/audit/audit.ts";
import type { Finding } from "../core/src/results/types.ts";
import type { OpenedDump } from "./damage.ts";
import type { Fault } from "./faults.ts";

export interface FaultScore {
  readonly places: number;
  /** Places by the verdict that they got, when it is the right one. */
  readonly found: { foreign: number; stale: number; equivalent: number };
  /** What went wrong, one line each: missed, with a wrong verdict, or reported and never done. */
  readonly trouble: readonly string[];
}

interface Span {
  readonly start: bigint;
  readonly length: number;
}

/** The bytes that a finding says are wrong. */
function spansOf(finding: Finding): readonly Span[] {
  if (finding.id !== "site.stale") return [{ start: BigInt(finding.address), length: finding.length }];
  return finding.differs.map(({ address, length }) => ({ start: BigInt(address), length }));
}

const changedBytes = (fault: Fault): bigint[] =>
  [...fault.bytes.keys()].filter((i) => fault.bytes[i] !== fault.held[i]).map((i) => fault.address + BigInt(i));

/** Scores an audit of the damaged dump; findings of the clean one do not count. */
export function scoreFaults(opened: OpenedDump, audit: DumpAudit, faults: readonly Fault[]): FaultScore {
  const findingsOf = ({ objects, unknown }: DumpAudit): Finding[] => [
    ...objects.flatMap((object) => object.findings),
    ...unknown,
  ];
  const key = ({ id, address, length }: Finding): string => `${id} ${address}+${length}`;
  const old = new Set(findingsOf(opened.clean).map(key));
  const trouble: string[] = [];
  /** address of a byte → the finding that reports it */
  const reported = new Map<bigint, Finding>();
  const left = new Set<Finding>();
  for (const finding of findingsOf(audit)) {
    if (old.has(key(finding))) continue;
    left.add(finding);
    for (const { start, length } of spansOf(finding)) {
      for (let i = 0n; i < BigInt(length); i++) reported.set(start + i, finding);
    }
  }
  const found = { foreign: 0, stale: 0, equivalent: 0 };
  let equivalent = 0;
  for (const fault of faults) {
    const changed = changedBytes(fault);
    const by = new Set(changed.map((address) => reported.get(address)));
    const verdict = verdictOf(by, changed);
    for (const finding of by) if (finding !== undefined) left.delete(finding);
    if (fault.expected === "changed" ? verdict === "foreign" || verdict === "stale" : verdict === fault.expected) {
      found[verdict as keyof typeof found]++;
    } else {
      trouble.push(`${verdict} instead of ${fault.expected}: 0x${fault.address.toString(16)}, ${fault.what}`);
    }
    if (fault.expected === "equivalent") equivalent += changed.length;
  }
  for (const finding of left) trouble.push(`never done: ${key(finding)}, ${finding.title}`);
  const count = ({ objects }: DumpAudit): number => objects.reduce((sum, { verdicts }) => sum + verdicts.equivalent, 0);
  const counted = count(audit) - count(opened.clean);
  if (counted !== equivalent) trouble.push(`${counted} bytes are equivalent, ${equivalent} were made so`);
  if (audit.notChecked.length !== opened.clean.notChecked.length) {
    trouble.push(`not checked: ${audit.notChecked.map(({ object, reason }) => `${object}: ${reason}`).join("; ")}`);
  }
  return { places: faults.length, found, trouble };
}

/** What the findings say of one fault, when they cover exactly the changed bytes; what is wrong with them else. */
function verdictOf(by: ReadonlySet<Finding | undefined>, changed: readonly bigint[]): string {
  const [finding] = by;
  if (by.size !== 1) return by.has(undefined) ? "partly missed" : "in pieces";
  if (finding === undefined) return "equivalent";
  const bytes = spansOf(finding).reduce((sum, { length }) => sum + length, 0);
  const verdict = finding.id === "site.stale" ? "stale" : finding.id === "text.foreign" ? "foreign" : finding.id;
  return bytes === changed.length ? verdict : `${verdict} with ${bytes} bytes`;
}
