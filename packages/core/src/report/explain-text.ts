// `explain` and docs/findings.md: one source, two forms.
import { EXPLANATIONS, type Explanation, WORDS } from "./explanations.ts";
import type { Paint } from "./paint.ts";

const WIDTH = 80;
const PARTS: readonly [heading: string, part: keyof Explanation][] = [
  ["What it means", "means"],
  ["How it is decided", "decided"],
  ["What to do", "next"],
];

/** The finding's explanation, 80 columns wide; undefined for an id that does not exist. */
export function explanationText(id: string, paint: Paint): string | undefined {
  const found = Object.hasOwn(EXPLANATIONS, id) ? EXPLANATIONS[id as keyof typeof EXPLANATIONS] : undefined;
  if (found === undefined) return undefined;
  const lines = [`${paint.bold(id)}  ${found.title}`];
  for (const [heading, part] of PARTS) lines.push("", paint.bold(heading), ...wrapped(found[part], "  "));
  return `${lines.join("\n")}\n`;
}

/** All ids with their titles, then the words. */
export function explanationList(paint: Paint): string {
  const ids = Object.entries(EXPLANATIONS);
  const width = Math.max(...ids.map(([id]) => id.length));
  return `${[
    ...ids.map(([id, { title }]) => `  ${paint.bold(id.padEnd(width))}  ${title}`),
    "",
    ...Object.entries(WORDS).flatMap(([word, meaning]) => wrapped(`${word}: ${meaning}`, "  ")),
  ].join("\n")}\n`;
}

/** docs/findings.md. */
export function explanationDocument(): string {
  const lines = [
    "# Findings",
    "",
    "What each finding means, how it is decided and what to do. `palimpsest explain ID` prints the same; this file is made by",
    "`palimpsest explain --markdown` and a test holds it to that.",
    "",
    "## Words",
    "",
    ...Object.entries(WORDS).map(([word, meaning]) => `- **${word}**: ${meaning}`),
  ];
  for (const [id, explanation] of Object.entries(EXPLANATIONS)) {
    lines.push("", `## ${id}`, "", `${capital(explanation.title)}.`);
    for (const [heading, part] of PARTS) lines.push("", `**${heading}.** ${explanation[part]}`);
  }
  return `${lines.join("\n")}\n`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.length + 1 + word.length > WIDTH && line !== indent) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line];
}
