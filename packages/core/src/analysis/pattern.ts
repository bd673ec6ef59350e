// Patterns as users write them for names: * stands for anything, ? for one character, everything else for itself.

/** What a name is held against. */
export interface Glob {
  /** Whether the pattern is the whole of `name`. Takes no more steps than pattern times name, whatever the pattern. */
  test(name: string): boolean;
}

/** A pattern in which * stands for anything and ? for one character, of a whole name. */
export function globExpression(pattern: string): Glob {
  return { test: (name) => matches(pattern, name) };
}

/** The last * alone has to be tried again: one before it takes as little as possible without a loss. */
function matches(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let taken = 0;
  while (n < name.length) {
    if (pattern[p] === "*") {
      star = p++;
      taken = n;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++taken;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
