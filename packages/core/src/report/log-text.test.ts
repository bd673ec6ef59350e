// The log as text: what a message can do to a terminal, and how its lines are led.
import { expect, test } from "vitest";
import type { LogLine, LogResult } from "../results/log-results.ts";
import { levelNumber, logText } from "./log-text.ts";
import { PLAIN } from "./paint.ts";

function text(messages: readonly Partial<LogLine>[], options = { decode: false, caller: false }): string {
  const base = { sequence: 1, time: "1.234567890", level: 6, facility: 0, caller: "T1", text: "", continues: false };
  const result = { messages: messages.map((each) => ({ ...base, ...each })) } as unknown as LogResult;
  return logText(result, options, PLAIN);
}

test.each([
  [[{ text: "one" }], "[    1.234567] one\n"],
  [[{ text: "two\nlines" }], "[    1.234567] two\n[    1.234567] lines\n"],
  [[{ text: "" }], "[    1.234567] \n"],
  [[{ text: "no time", time: null }], "no time\n"],
  [[{ text: "12345.000001", time: "12345.000001999" }], "[12345.000001] 12345.000001\n"],
  [
    [{ text: "part " }, { text: "and part", continues: true }, { text: "next" }],
    "[    1.234567] part and part\n[    1.234567] next\n",
  ],
  [[{ text: "\u001b[31mred\u0007\ttab\u009b" }], "[    1.234567] \\x1b[31mred\\x07\ttab\\x9b\n"],
])("%j", (messages, expected) => {
  expect(text(messages)).toBe(expected);
});

test("level, facility and caller when asked for", () => {
  const both = { decode: true, caller: true };
  expect(text([{ text: "a", level: 3, facility: 1 }], both)).toBe("user  :err   : [    1.234567][    T1] a\n");
  expect(text([{ text: "a", level: null, facility: null, caller: null }], both)).toBe(
    "?     :?     : [    1.234567] a\n",
  );
});

test.each([
  ["0", 0],
  ["7", 7],
  ["err", 3],
  ["error", 3],
  ["8", undefined],
  ["loud", undefined],
])("--level %s", (given, level) => {
  expect(levelNumber(given)).toBe(level);
});
