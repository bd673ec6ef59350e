// The explanations as text and as a document.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { explanationDocument, explanationList, explanationText } from "./explain-text.ts";
import { EXPLANATIONS } from "./explanations.ts";
import { PLAIN } from "./paint.ts";

const root = join(import.meta.dirname, "..", "..", "..", "..");

test("docs/findings.md is what `palimpsest explain --markdown` prints", () => {
  expect(readFileSync(join(root, "docs", "findings.md"), "utf8")).toBe(explanationDocument());
});

test("every finding is explained within 80 columns", () => {
  for (const id of Object.keys(EXPLANATIONS)) {
    const text = explanationText(id, PLAIN) ?? "";
    expect(text.startsWith(`${id}  `)).toBe(true);
    for (const heading of ["What it means", "How it is decided", "What to do"])
      expect(text).toContain(`\n${heading}\n  `);
    for (const line of text.split("\n").slice(1)) expect(line.length).toBeLessThanOrEqual(80);
    expect(explanationList(PLAIN)).toContain(id);
  }
});

test("an id that does not exist", () => {
  expect(explanationText("lock.mixt", PLAIN)).toBeUndefined();
  expect(explanationText("toString", PLAIN)).toBeUndefined();
});
