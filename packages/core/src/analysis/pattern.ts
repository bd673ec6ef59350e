// Patterns as shells have them, for names of symbols and types.

/** A pattern in which * stands for anything and ? for one character, of a whole name. */
export function globExpression(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*+/g, ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`);
}
