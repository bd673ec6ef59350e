// A dump of which some parts are replaced. What a dump tells of itself may grow while it is read (`problems`), and may be getters of a
// class: nothing is copied, and a spread of the object would lose it.
import type { Dump } from "./types.ts";

/** The dump with other memory, other CPU notes …; all else is asked of the one given. */
export function changedDump(dump: Dump, parts: Partial<Dump>): Dump {
  const properties = Object.entries(parts).map(([name, value]) => [name, { value, enumerable: true }] as const);
  return Object.create(dump, Object.fromEntries(properties));
}
