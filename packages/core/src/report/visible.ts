// Names, logs, files and arguments come from strangers: a terminal must never be handed a control character of theirs, nor a mark
// that turns the order of letters around. What is printed goes through here, text and JSON alike.

// Control characters (C0, DEL, C1), line separators, and marks that change the direction of text or take no room (general category
// Cf: Unicode UAX #9 and #44).
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const UNSEEN_IN_LINE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** JSON.stringify has escaped C0 already; its own newlines stay. */
const UNSEEN_IN_JSON = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
// The colours of paint.ts.
// biome-ignore lint/suspicious/noControlCharactersInRegex: a colour begins with ESC
const OWN_COLOUR = /(\u001b\[(?:1|2|22|3[0-9])m)/;

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code === 0x0a) return "\\n";
  if (code === 0x09) return "\\t";
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Text of several lines with each control character written out (`\x1b`); newlines and tabs stay. */
export function visible(text: string): string {
  return text.replace(UNSEEN, escaped);
}

/** A name or one line: newlines and tabs are written out too. */
export function visibleLine(text: string): string {
  return text.replace(UNSEEN_IN_LINE, escaped);
}

/** Painted text: as `visible`, but the colours of `ANSI` (paint.ts) stay. */
export function visiblePainted(text: string): string {
  return text
    .split(OWN_COLOUR)
    .map((part, i) => (i % 2 === 1 ? part : visible(part)))
    .join("");
}

/**
 * A result as text may be made from it: every string in it without control characters, so that no name can begin a line of its
 * own or paint itself. Shapes and numbers stay.
 * @param lines keep newlines and tabs: for the log, whose messages may have several lines
 */
export function visibleValues<T>(value: T, lines = false): T {
  return copied(value, lines ? visible : visibleLine) as T;
}

function copied(value: unknown, text: (text: string) => string): unknown {
  if (typeof value === "string") return text(value);
  if (Array.isArray(value)) return value.map((each) => copied(each, text));
  if (typeof value !== "object" || value === null) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [text(key), copied(each, text)]));
}

/** JSON of two spaces; DEL, C1 and direction marks are escaped like C0, so that it can be shown on a terminal as it is. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(UNSEEN_IN_JSON, (character) =>
    Array.from(
      { length: character.length },
      (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
    ).join(""),
  );
}
