// From the audit's own objects to the plain result that is printed.

import type { Kernel } from "../kernel/kernel.ts";
import { machineOf } from "../kernel/machine.ts";
import type {
  AuditResult,
  DumpFacts,
  KernelFacts,
  MechanismCounts,
  ObjectFacts,
  VerdictCounts,
} from "../results/results.ts";
import type { Finding } from "../results/types.ts";
import type { DumpAudit } from "./audit.ts";
import { generatedAccount, generatedFindings } from "./generated.ts";
import type { MechanismAccount, ObjectAudit, Verdicts } from "./object-audit.ts";

export function dumpFacts(kernel: Kernel): DumpFacts {
  return { path: kernel.dump.path, format: kernel.dump.format, size: kernel.dump.size };
}

export function kernelFacts(kernel: Kernel, kaslrOffset?: number): KernelFacts {
  const machine = machineOf(kernel);
  const offset = kaslrOffset === undefined ? kernel.kaslrOffset : BigInt(kaslrOffset);
  return {
    release: kernel.release,
    buildId: kernel.buildId ?? null,
    version: kernel.version,
    kaslrOffset: offset === undefined ? null : `0x${offset.toString(16)}`,
    cpus: machine.online.length > 0 ? machine.online.length : (machine.possible ?? null),
    hypervisor: machine.hypervisor ?? null,
    cpuModel: kernel.features.modelId,
  };
}

/** Causes come before what follows from them: one mixed lock explains a thousand stale sites. */
const CAUSES: readonly Finding["id"][] = [
  "lock.mixed",
  "hang.lock-pair",
  "hang.self-deadlock",
  "hang.deadlock",
  "hang.work-flush",
  "hang.dead-owner",
  "hang.lost-wakeup",
  "hang.lost-unlock",
  "hang.waiting-for-ipi",
  "hang.hard-lockup",
  "hang.soft-lockup",
  "hang.rcu-stall",
  "hang.hung-task",
  "crash.oops",
  "crash.panic",
  "lock.impossible",
  "slot.late-write",
];

/** Findings by severity, then by object, then by address. */
function order(findings: Finding[]): Finding[] {
  const rank = { error: 0, warning: 1, note: 2 };
  const cause = (finding: Finding): number => (CAUSES.indexOf(finding.id) + CAUSES.length + 1) % (CAUSES.length + 1);
  return findings.sort(
    (a, b) =>
      rank[a.severity] - rank[b.severity] ||
      cause(a) - cause(b) ||
      (a.address < b.address ? -1 : a.address > b.address ? 1 : 0),
  );
}

const NO_VERDICTS: Verdicts = { built: 0, patched: 0, equivalent: 0, inFlight: 0, stale: 0, foreign: 0, absent: 0 };

function addVerdicts(into: Verdicts, more: VerdictCounts): void {
  for (const key of Object.keys(into) as (keyof Verdicts)[]) into[key] += more[key];
}

function addMechanisms(into: Map<string, MechanismAccount>, more: ReadonlyMap<string, MechanismCounts>): void {
  for (const [name, counts] of more) {
    const sum = into.get(name) ?? { sites: 0, bytes: 0, stale: 0 };
    into.set(name, {
      sites: sum.sites + counts.sites,
      bytes: sum.bytes + counts.bytes,
      stale: sum.stale + counts.stale,
    });
  }
}

/** Puts the account together. `more` are findings of other rooms. */
export function auditResult<S extends AuditResult["schema"]>(
  schema: S,
  tool: string,
  kernel: Kernel,
  audit: DumpAudit,
  more: readonly Finding[] = [],
): AuditResult & { readonly schema: S } {
  const verdicts = { ...NO_VERDICTS };
  const mechanisms = new Map<string, MechanismAccount>();
  let bytes = 0;
  let freed = 0;
  for (const object of audit.objects) {
    bytes += object.bytes;
    addVerdicts(verdicts, object.verdicts);
    addMechanisms(mechanisms, object.mechanisms);
    for (const section of object.freed) freed += section.size;
  }
  const found = audit.objects.flatMap((object) => object.findings);
  const findings = order([...found, ...generatedFindings(audit.generated), ...audit.unknown, ...more]);
  const unchecked = audit.notChecked
    .filter(({ object }) => !audit.objects.some((each) => each.name === object))
    .map(({ object }): ObjectFacts => ({ name: object, checked: false, bytes: 0, image: null }));
  return {
    schema,
    tool,
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel, audit.kaslrOffset),
    objects: [...audit.objects.map(objectFacts), ...unchecked],
    account: { bytes, verdicts, mechanisms: Object.fromEntries(mechanisms), freed },
    generated: generatedAccount(audit.generated),
    complete:
      audit.notChecked.every(({ passing }) => passing === true) &&
      verdicts.absent === 0 &&
      !kernel.dump.incomplete &&
      (kernel.unseen ?? []).length === 0,
    findings,
    findingsLeftOut: audit.objects.reduce((sum, object) => sum + object.untold, 0),
    notChecked: audit.notChecked.map(({ object, reason }) => ({ object, reason })),
    notes: [...new Set([...kernel.problems, ...audit.problems])],
  };
}

function objectFacts(object: ObjectAudit): ObjectFacts {
  return {
    name: object.name,
    checked: !object.partial,
    bytes: object.bytes,
    image: object.partial ? null : object.path,
    verdicts: object.verdicts,
    mechanisms: Object.fromEntries(object.mechanisms),
    freed: object.freed.map(({ name, size }) => ({ section: name, bytes: size })),
  };
}
