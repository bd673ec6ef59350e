// A diagnosis in the words of a bug report: title, description with the evidence, tags, and the package it is about.
import { type Diagnosis, type Facts, isFacts, listOf, textOf, textsOf } from "./diagnosis.ts";
import { type Signature, signatureOf } from "./signature.ts";

export interface Report {
  readonly title: string;
  readonly description: string;
  readonly tags: readonly string[];
  /** "ubuntu/+source/linux" */
  readonly target: string;
  /** of the package, when the kernel's banner tells it: "6.1.176-1" */
  readonly packageVersion: string | undefined;
  readonly signature: Signature | undefined;
}

const LONGEST_TITLE = 190;
const LONGEST = 48_000;

export function describe(diagnosis: Diagnosis, log: readonly string[] = []): Report {
  const { release, version, hypervisor } = diagnosis;
  const signature = signatureOf(diagnosis);
  const serious = diagnosis.findings.filter((each) => each.severity !== "note");
  const main = principal(serious, signature);
  const title =
    main === undefined
      ? `Linux ${release}: nothing found`
      : textOf(main.title) || textOf(main.id) || "a finding without a title";
  const where = release === "" ? "" : ` (Linux ${release})`;
  const parts = [
    `${title}${where}`,
    head(diagnosis),
    ...serious.slice(0, 8).map(findingText),
    serious.length > 8 ? `${serious.length - 8} more findings are in the attached diagnosis.` : "",
    log.length > 0 ? `From the kernel's log:\n\n${log.join("\n")}` : "",
    signature === undefined ? "" : `Cause: ${signature.id}\n${signature.parts.map((part) => `  ${part}`).join("\n")}`,
  ];
  return {
    title: `${title.slice(0, LONGEST_TITLE - where.length)}${where}`.slice(0, 200),
    description: clean(parts.filter((part) => part !== "").join("\n\n")).slice(0, LONGEST),
    tags: tagsOf(serious, hypervisor),
    target: targetOf(version),
    packageVersion: /\b(?:Debian|Ubuntu) (\d\S*)/.exec(version)?.[1]?.replace(/[()]/g, ""),
    signature,
  };
}

/** The finding that names the cause. */
function principal(findings: readonly Facts[], signature: Signature | undefined): Facts | undefined {
  const kind = signature?.id.replace(/-[0-9a-f]{12}$/, "");
  return findings.find((each) => each.id === kind) ?? findings[0];
}

function head({ release, version, hypervisor, complete, notChecked }: Diagnosis): string {
  return [
    `Kernel: ${release || "unknown"}`,
    ...(version === "" ? [] : [version.trim()]),
    ...(hypervisor === "" ? [] : [`Hypervisor: ${hypervisor}`]),
    complete ? "All kernel code was compared." : "Not all kernel code could be compared:",
    ...(complete ? [] : notChecked.slice(0, 5).map((each) => `  ${textOf(each.object)}: ${textOf(each.reason)}`)),
  ].join("\n");
}

/** What it is, where, the bytes, the witness. Memory of user programs is in none of these. */
function findingText(finding: Facts): string {
  const lines = [`[${textOf(finding.severity)}] ${textOf(finding.id)}: ${textOf(finding.title)}`];
  const symbol = textOf(finding.symbol);
  if (symbol !== "") lines.push(`  at ${symbol} in ${textOf(finding.object)}, ${textOf(finding.address)}`);
  if (isFacts(finding.layers)) {
    for (const layer of ["built", "intended", "found"]) {
      const bytes = textOf(finding.layers[layer]);
      if (bytes !== "") lines.push(`  ${layer.padEnd(9)} ${bytes.slice(0, 96)}`);
    }
  }
  for (const side of ["takers", "releasers"] as const) {
    for (const each of listOf(finding[side]).slice(0, 4)) {
      lines.push(
        `  ${side === "takers" ? "taken by" : "released by"} ${textOf(each.function)} (${textOf(each.implementation)}), ${String(each.sites)} sites`,
      );
    }
  }
  if (isFacts(finding.slot)) lines.push(`  slot ${textOf(finding.slot.name)} = ${textOf(finding.slot.value)}`);
  for (const lock of listOf(finding.locks).slice(0, 4)) {
    lines.push(
      `  lock ${textOf(lock.name)}: ${textOf(lock.bytes)}${textOf(lock.meaning) && `, ${textOf(lock.meaning)}`}`,
    );
  }
  for (const step of listOf(finding.cycle).slice(0, 16)) {
    lines.push(
      `  ${textOf(step.task)} waits for ${textOf(step.waitsFor)} (${textOf(step.type)}) in ${textsOf(step.at)[0] ?? "?"}`,
    );
  }
  for (const step of textsOf(finding.witness).slice(-12)) lines.push(`  ${step}`);
  for (const note of textsOf(finding.notes).slice(0, 4)) lines.push(`  ${note}`);
  return lines.join("\n");
}

function tagsOf(findings: readonly Facts[], hypervisor: string): string[] {
  const tags = new Set(["palimpsest"]);
  for (const finding of findings) {
    tags.add(textOf(finding.id).replace(/[^a-z0-9+.-]/g, "-"));
    if (textOf(finding.mechanism) !== "")
      tags.add(
        textOf(finding.mechanism)
          .toLowerCase()
          .replace(/[^a-z0-9+.-]+/g, "-"),
      );
  }
  if (/xen/i.test(hypervisor)) tags.add("xen");
  else if (/kvm/i.test(hypervisor)) tags.add("kvm");
  return [...tags].filter((tag) => /^[a-z0-9][a-z0-9+.-]*$/.test(tag)).slice(0, 20);
}

/** The source package by the banner: Ubuntu's and Debian's kernels are both "linux". */
function targetOf(version: string): string {
  if (/Ubuntu/.test(version)) return "ubuntu/+source/linux";
  return /Debian/.test(version) ? "debian/+source/linux" : "linux";
}

/** No character that a database, a terminal or XML would stumble over. */
function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "\ufffd");
}
