// What Palimpsest says of a run's core, kept beside it: the diagnosis as text and JSON, what `info` says of the machine, and
// whether each vCPU's place is where xl found it. summary.txt has it all on one page.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { palimpsest } from "../measure.ts";
import type { XenFacts } from "./types.ts";

/** The content of diagnosed.json. */
export interface Diagnosed {
  readonly exitCode: number;
  /** Ids of the findings, each once, in order. */
  readonly findings: readonly string[];
  readonly complete: boolean;
  /** The verdicts of the proofs of lock pairs: "hang  A with B". */
  readonly proofs: readonly string[];
  /** "Xen PVH", as `info` says. */
  readonly hypervisor: string;
  /** "yes", "no" or "unknown". */
  readonly pvSpinlocks: string;
  readonly callbackVector: string;
  /** rip of each CPU in the dump. */
  readonly rips: readonly string[];
  /** The dump's rips are xl's, vCPU by vCPU; undefined when xl told none. */
  readonly ripsAgree: boolean | undefined;
  readonly cpuSeconds: number;
  /** Why there is no diagnosis. */
  readonly trouble: string | undefined;
}

const SECONDS = 240;

/** Diagnoses the core of `folder` and writes diagnosis.txt, diagnosis.json, info.json, diagnosed.json, summary.txt there. */
export async function diagnoseRun(folder: string, facts: XenFacts): Promise<Diagnosed> {
  const beside = ["--image", join(folder, "vmlinuz"), "--modules", join(folder, "modules")];
  const core = join(folder, "core");
  const json = await palimpsest(["diagnose", core, ...beside, "--json"], SECONDS);
  const text = await palimpsest(["diagnose", core, ...beside, "--color", "never"], SECONDS);
  const info = await palimpsest(["info", core, ...beside, "--json"], SECONDS);
  writeFileSync(join(folder, "diagnosis.json"), json.stdout);
  writeFileSync(join(folder, "diagnosis.txt"), text.stdout + text.stderr);
  writeFileSync(join(folder, "info.json"), info.stdout);
  const diagnosed = readDiagnosis(json.stdout, info.stdout, facts, {
    exitCode: json.exitCode,
    complaint: json.stderr,
    cpuSeconds: json.cost.cpuSeconds,
  });
  writeFileSync(join(folder, "diagnosed.json"), `${JSON.stringify(diagnosed, null, 1)}\n`);
  writeFileSync(join(folder, "summary.txt"), summary(facts, diagnosed));
  return diagnosed;
}

/** Reduces the JSON of `diagnose` and `info` to what a row needs. Pure. */
export function readDiagnosis(
  diagnosis: string,
  info: string,
  facts: Pick<XenFacts, "vcpuStates">,
  { exitCode, complaint, cpuSeconds }: { exitCode: number; complaint: string; cpuSeconds: number },
): Diagnosed {
  const report = parse(diagnosis);
  const machine = parse(info);
  const findings = list(report?.findings).map((finding) => String(member(finding, "id")));
  const proofs = list(report?.proofs).map(
    (proof) => `${member(proof, "verdict")}  ${member(proof, "lock")} with ${member(proof, "unlock")}`,
  );
  const paravirt = namedValues(member(machine?.paravirtualisation, "hypervisor"));
  const rips = list(machine?.registers).map((cpu) => hex(member(cpu, "rip")));
  const expected = facts.vcpuStates.map(({ rip }) => rip);
  return {
    exitCode,
    findings: [...new Set(findings)],
    complete: report?.complete === true,
    proofs,
    hypervisor: paravirt.get("hypervisor") ?? "unknown",
    pvSpinlocks: paravirt.get("xen_pvspin") ?? "unknown",
    callbackVector: paravirt.get("xen_have_vector_callback") ?? "unknown",
    rips,
    ripsAgree:
      expected.length === 0
        ? undefined
        : expected.length === rips.length && expected.every((rip, i) => rip === rips[i]),
    cpuSeconds,
    trouble: isDiagnosis(report)
      ? undefined
      : `exit code ${exitCode}: ${complaint.trim().split("\n").at(-1) ?? ""}`.slice(0, 300),
  };
}

/** A dump that cannot be opened gives no report, or one of another kind. */
function isDiagnosis(report: Json | undefined): boolean {
  return typeof report?.schema === "string" && report.schema.startsWith("palimpsest/diagnose/");
}

/** The run on one page. */
export function summary(facts: XenFacts, diagnosed: Diagnosed): string {
  const { result } = facts;
  const lines = [
    `${facts.release} as Xen ${facts.type.toUpperCase()} guest, ${facts.vcpus} vCPUs, ${facts.memoryMegabytes} MiB${facts.append ? `, ${facts.append}` : ""}`,
    `Xen ${facts.xenVersion}, dom0 ${facts.dom0Release}, QEMU ${facts.qemuVersion}, ${facts.date}`,
    ...(facts.late ? [`slots switched late to ${facts.late.to}, repair: ${facts.late.repair}`] : []),
    "",
    `outcome: ${result.outcome}: ${result.reason} (create ${result.createSeconds} s, boot ${result.bootSeconds} s, dump ${result.dumpSeconds} s)`,
    ...(facts.tries.length > 1
      ? facts.tries.map(({ outcome, reason }, i) => `  try ${i + 1}: ${outcome}: ${reason}`)
      : []),
    ...facts.vcpuStates.map(
      ({ vcpu, rip, state }) => `vCPU ${vcpu}: rip ${rip} ${state}; in the dump ${diagnosed.rips[vcpu] ?? "none"}`,
    ),
    "",
    diagnosed.trouble
      ? `no diagnosis: ${diagnosed.trouble}`
      : `diagnose: exit status ${diagnosed.exitCode}, ${diagnosed.findings.length === 0 ? "no finding" : diagnosed.findings.join(", ")}${diagnosed.complete ? "" : ", not complete"}`,
    `info: ${diagnosed.hypervisor}, pv spinlocks ${diagnosed.pvSpinlocks}, callback vector ${diagnosed.callbackVector}`,
    ...diagnosed.proofs.map((proof) => `  ${proof}`),
  ];
  return `${lines.join("\n")}\n`;
}

type Json = Readonly<Record<string, unknown>>;

function parse(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Json)[key] : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function hex(value: unknown): string {
  return typeof value === "string" ? `0x${value.replace(/^0x/, "").padStart(16, "0")}` : "none";
}

/** A list of {name, value}. */
function namedValues(pairs: unknown): Map<string, string> {
  return new Map(list(pairs).map((pair) => [String(member(pair, "name")), String(member(pair, "value"))]));
}
