// A diagnosis that came from outside: a file or an attachment. It is held against what is read from it before it is
// believed, since anybody can write such JSON.
import { auditText } from "../../../core/src/report/audit-text.ts";
import { PLAIN } from "../../../core/src/report/paint.ts";
import type { AuditResult } from "../../../core/src/results/results.ts";
import { InvalidError } from "../errors.ts";

export type Facts = { readonly [key: string]: unknown };

export interface Diagnosis {
  readonly schema: string;
  readonly release: string;
  readonly version: string;
  readonly hypervisor: string;
  readonly complete: boolean;
  readonly findings: readonly Facts[];
  readonly notChecked: readonly Facts[];
  /** as it was read */
  readonly result: Facts;
}

export function isFacts(value: unknown): value is Facts {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
export function listOf(value: unknown): readonly Facts[] {
  return Array.isArray(value) ? value.filter(isFacts) : [];
}
export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

const MOST_FINDINGS = 10_000;

/** @throws InvalidError when this is no result of `palimpsest diagnose --json` */
export function readDiagnosis(text: string): Diagnosis {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidError("", `is no JSON: ${(error as Error).message}`);
  }
  if (!isFacts(value)) throw new InvalidError("", "is no result of palimpsest diagnose --json");
  const schema = textOf(value.schema);
  if (!/^palimpsest\/(diagnose|audit)\/1$/.test(schema)) {
    throw new InvalidError("", `is "${schema.slice(0, 60) || "without a schema"}", not palimpsest/diagnose/1`);
  }
  const { kernel, findings } = value;
  if (!isFacts(kernel) || !Array.isArray(findings)) throw new InvalidError("", "has no kernel or no list of findings");
  return {
    schema,
    release: textOf(kernel.release),
    version: textOf(kernel.version),
    hypervisor: textOf(kernel.hypervisor),
    complete: value.complete === true,
    findings: listOf(findings).slice(0, MOST_FINDINGS),
    notChecked: listOf(value.notChecked),
    result: value,
  };
}

/** The text of `palimpsest diagnose`; undefined for what is no diagnosis. */
export function diagnosisText(text: string): string | undefined {
  if (!text.trimStart().startsWith("{") || !text.includes("palimpsest/")) return undefined;
  try {
    const { result } = readDiagnosis(text);
    return renderDiagnosis(result);
  } catch {
    return undefined; // it is shown as it came
  }
}

/** @throws when a fact that the report needs is not there */
export function renderDiagnosis(result: Facts): string {
  // The report reads every fact that the schema promises: what lacks one throws here and is shown as it came.
  return auditText(result as unknown as AuditResult, { limit: 12, detailed: false }, PLAIN);
}
