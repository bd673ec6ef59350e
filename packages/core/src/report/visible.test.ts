// What a hostile name can do to a terminal, and that it cannot.
import { expect, test } from "vitest";
import { ANSI } from "./paint.ts";
import { jsonText, visible, visibleLine, visiblePainted, visibleValues } from "./visible.ts";

const CASES: readonly [name: string, text: string, shown: string][] = [
  ["escape", "a\u001b[31mb", "a\\x1b[31mb"],
  ["bell and backspace", "\u0007\u0008", "\\x07\\x08"],
  ["carriage return", "real\rfake", "real\\x0dfake"],
  ["DEL", "\u007f", "\\x7f"],
  ["C1: CSI in one character", "\u009b31m", "\\x9b31m"],
  ["bidi override", "a\u202eb", "a\\u202eb"],
  ["bidi isolate", "a\u2066b\u2069", "a\\u2066b\\u2069"],
  ["Arabic letter mark", "\u061c", "\\u061c"],
  ["zero width", "a\u200bb\ufeff", "a\\u200bb\\ufeff"],
  ["line separator", "a\u2028b", "a\\u2028b"],
  ["a tag character", "\u{e0041}", "\\ue0041"],
  ["NUL", "\u0000", "\\x00"],
  ["plain text of other languages", "Überblick 文 🐧", "Überblick 文 🐧"],
];

test.each(CASES)("%s", (_name, text, shown) => {
  expect(visible(text)).toBe(shown);
  expect(visibleLine(text)).toBe(shown);
});

test("newlines and tabs stay in text and are written out in a name", () => {
  expect(visible("a\n\tb")).toBe("a\n\tb");
  expect(visibleLine("a\n\tb")).toBe("a\\n\\tb");
});

test("every control character there is", () => {
  for (let code = 0; code < 0xa0; code++) {
    if (code >= 0x20 && code < 0x7f) continue;
    expect(visibleLine(String.fromCharCode(code))).toMatch(/^\\(x[0-9a-f]{2}|[nt])$/);
  }
});

test("our own colours pass, others do not", () => {
  const text = `${ANSI.red("error")} \u001b[5mblink\u001b]0;title\u0007`;
  expect(visiblePainted(text)).toBe(`${ANSI.red("error")} \\x1b[5mblink\\x1b]0;title\\x07`);
  for (const paint of [ANSI.bold, ANSI.dim, ANSI.red, ANSI.green, ANSI.yellow, ANSI.cyan])
    expect(visiblePainted(paint("x"))).toBe(paint("x"));
});

test("a result's strings and keys, not its shape", () => {
  const result = { "na\u001bme": ["a\nb", 1, null, { text: "\u009b", flag: true }] };
  expect(visibleValues(result)).toEqual({ "na\\x1bme": ["a\\nb", 1, null, { text: "\\x9b", flag: true }] });
  expect(visibleValues({ text: "a\n\u001bb" }, true)).toEqual({ text: "a\n\\x1bb" });
});

test("JSON means the same and shows no control character", () => {
  const value = { text: "\u001b \u007f \u009b \u202e \u2028 \u{e0041} é" };
  const json = jsonText(value);
  expect(JSON.parse(json)).toEqual(value);
  expect(json).toContain("\\u001b \\u007f \\u009b \\u202e \\u2028 \\udb40\\udc41 é");
});
