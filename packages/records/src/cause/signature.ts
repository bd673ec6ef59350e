// What a diagnosis is recognised by: its cause, in words that stay the same over builds, CPU counts and KASLR. No address,
// no offset, no PID, no count goes in; names of functions, locks, slots and mechanisms do.
import { createHash } from "node:crypto";
import { type Diagnosis, type Facts, isFacts, listOf, textOf, textsOf } from "./diagnosis.ts";

export interface Signature {
  /** "lock.mixed-3f9c2a61d0b4" */
  readonly id: string;
  /** the words that it was made of, sorted: what a person compares */
  readonly parts: readonly string[];
}

/**
 * Which kind of finding names the cause when there are several: a lock taken one way and released another also leaves
 * stale sites and impossible words, a deadlock leaves waiting tasks. The first kind present is the cause.
 */
const CAUSES: readonly (readonly string[])[] = [
  ["hang.deadlock"],
  ["lock.mixed", "slot.late-write"],
  ["hang.lock-pair"],
  ["text.foreign", "site.stale"],
  ["lock.impossible"],
];

/** A function's name as the source has it: compilers add .isra.0, .part.3, .cold, .constprop.0; symbols add +0x10. */
export function plainName(symbol: string): string {
  return symbol
    .replace(/\+0x[0-9a-f]+(\/0x[0-9a-f]+)?/gi, "")
    .replace(/\.(isra|part|constprop|cold|lto_priv|llvm|localalias|sym)(\.[0-9]+)*(?![\w])/g, "")
    .replace(/^(__)?(SCT|SCK|pfx|cfi)_+_?/, "")
    .replace(/0x[0-9a-f]+/gi, "?")
    .trim();
}

/** @returns undefined when nothing is wrong, or nothing that names a cause */
export function signatureOf({ findings }: Diagnosis): Signature | undefined {
  const told = findings.filter((each) => each.severity !== "note" && !textOf(each.id).startsWith("unknown."));
  const hangs = told.filter((each) => textOf(each.id).startsWith("hang.") && !CAUSES.flat().includes(textOf(each.id)));
  if (hangs.length > 0 && !told.some((each) => each.id === "hang.deadlock")) return sign(hangs);
  for (const kinds of CAUSES) {
    const those = told.filter((each) => kinds.includes(textOf(each.id)));
    if (those.length > 0) return sign(those);
  }
  return told.length > 0 ? sign(told) : undefined;
}

function sign(findings: readonly Facts[]): Signature {
  const parts = [...new Set(findings.flatMap(partsOf))].sort();
  const kind = [...new Set(findings.map((each) => textOf(each.id)))].sort()[0]!;
  const digest = createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 12);
  return { id: `${kind}-${digest}`, parts: parts.slice(0, 200) };
}

function partsOf(finding: Facts): string[] {
  const id = textOf(finding.id);
  const where = place(finding);
  switch (id) {
    case "lock.mixed":
      return [`lock.mixed ${families(finding.takers)} released as ${families(finding.releasers)}`];
    case "slot.late-write":
      return [`slot.late-write ${slotName(finding.slot)}`];
    case "hang.lock-pair":
      return [
        `hang.lock-pair ${textOf(finding.verdict)} ${plainName(textOf(finding.lock))} / ${plainName(textOf(finding.unlock))}`,
      ];
    case "hang.deadlock":
      return [`hang.deadlock ${cycleShape(listOf(finding.cycle))}`];
    case "lock.impossible":
      return [`lock.impossible ${textOf(finding.type)} ${lockNames(finding)}`];
    case "site.stale": {
      const slot = slotName(finding.slot);
      return [
        `site.stale ${textOf(finding.mechanism)} ${slot === "" ? where : slot} ${plainName(textOf(finding.form))}`,
      ];
    }
    case "text.foreign":
      return [`text.foreign ${where} ${changeKind(finding.layers)}`];
    default:
      return [`${id} ${where} ${waitShape(finding)}`.trimEnd()];
  }
}

function place(finding: Facts): string {
  const object = textOf(finding.object);
  const name = plainName(textOf(finding.symbol));
  return object === "" || object === "vmlinux" ? name : `${object}:${name}`;
}

/** "ticket" and "byte": not the functions, which kernels name differently. */
function families(sides: unknown): string {
  const names = listOf(sides).map((side) => textOf(side.family) || textOf(side.implementation));
  return [...new Set(names)].sort().join("+");
}

function slotName(slot: unknown): string {
  if (!isFacts(slot)) return "";
  // pv_lock_ops became pv_ops.lock in 4.20: the slot is the same.
  return plainName(textOf(slot.name))
    .replace(/^pv_(\w+)_ops\./, "pv_ops.$1.")
    .replace(/\[\d+\]/g, "[]");
}

/** The circle from the same place, wherever the walk began: locks and their types, not tasks. */
function cycleShape(steps: readonly Facts[]): string {
  const names = steps.map((step) => {
    const lock = plainName(textOf(step.waitsFor));
    return `${textOf(step.type)} ${lock === "" || /^\??$/.test(lock) ? waiter(step) : lock}`;
  });
  const turns = names.map((_, at) => [...names.slice(at), ...names.slice(0, at)].join(" > "));
  return turns.sort()[0] ?? "";
}

/** Where a task sleeps, by the first function that is not the lock's own. */
function waiter(step: Facts): string {
  const own = /mutex|rwsem|semaphore|schedule|down_|spin|wait|rt_|preempt|switch_to/;
  const names = textsOf(step.at).map(plainName);
  return `in ${names.find((name) => !own.test(name)) ?? names[0] ?? "?"}`;
}

function lockNames(finding: Facts): string {
  const names = listOf(finding.locks).map((lock) => plainName(textOf(lock.name)));
  return [...new Set(names.filter((name) => name !== "" && name !== "?"))].sort().slice(0, 8).join(" ");
}

/** What was done to the bytes: another build has other bytes, but a bit flip stays one. */
function changeKind(layers: unknown): string {
  if (!isFacts(layers)) return "";
  const bytes = (text: unknown) =>
    textOf(text)
      .split(/\s+/)
      .filter(Boolean)
      .map((each) => Number.parseInt(each, 16));
  const [intended, found] = [bytes(layers.intended), bytes(layers.found)];
  const differing = found.map((byte, at) => byte ^ (intended[at] ?? 0)).filter((bits) => bits !== 0);
  if (differing.length === 1 && Number.isInteger(Math.log2(differing[0]!))) return "one bit";
  const first = found.find((byte, at) => byte !== intended[at]);
  if (first === 0xe9 || first === 0xeb) return "a jump";
  if (first === 0xe8) return "a call";
  if (first === 0xcc) return "a breakpoint";
  return found.length > 0 && found.every((byte) => byte === 0) ? "zeros" : "other bytes";
}

/** Any other kind of hang: the types and names of what is waited for, outermost last, without numbers. */
function waitShape(finding: Facts): string {
  const keys = ["mechanism", "type", "verdict", "lock", "waitsFor", "function", "kind", "cause", "root", "reason"];
  const words = keys.flatMap((key) => {
    const value = finding[key];
    if (typeof value === "string") return [plainName(value)];
    return isFacts(value) ? [plainName(textOf(value.name) || textOf(value.type))] : [];
  });
  const chain = [...listOf(finding.chain), ...listOf(finding.waits), ...listOf(finding.steps)].map(
    (step) => `${textOf(step.type)} ${plainName(textOf(step.waitsFor) || textOf(step.lock) || textOf(step.name))}`,
  );
  return [...words.filter((word) => word !== ""), ...new Set(chain)]
    .map((word) => word.replace(/\b(CPU|PID) ?\d+/g, "$1").replace(/\b\d+\b/g, "N"))
    .join(" ");
}

export interface Likeness {
  /** 0 to 1 */
  readonly score: number;
  readonly reasonsFor: readonly string[];
  readonly reasonsAgainst: readonly string[];
}

/** How alike two causes are, with what speaks for and against: a person decides. */
export function compare(mine: Signature, theirs: Signature): Likeness {
  const shared = mine.parts.filter((part) => theirs.parts.includes(part));
  const onlyMine = mine.parts.filter((part) => !theirs.parts.includes(part));
  const onlyTheirs = theirs.parts.filter((part) => !mine.parts.includes(part));
  const union = shared.length + onlyMine.length + onlyTheirs.length;
  return {
    score: mine.id === theirs.id ? 1 : union === 0 ? 0 : shared.length / union,
    reasonsFor: [...(mine.id === theirs.id ? ["the same signature"] : []), ...shared.map((part) => `both: ${part}`)],
    reasonsAgainst: [
      ...onlyMine.map((part) => `only here: ${part}`),
      ...onlyTheirs.map((part) => `only there: ${part}`),
    ],
  };
}
