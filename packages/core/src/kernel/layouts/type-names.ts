// C types as users write them: "struct module", "module", "task_struct.thread.sp", "module.mem[0]"; and what they may have
// meant.
import { MissingError } from "../../bytes/errors.ts";
import type { TypeTable } from "../../symbols/types.ts";
import { changes } from "../near-names.ts";

export interface TypeChoice {
  /** "struct module", "enum system_states", "u64" */
  readonly type: string;
  /** the member behind it: "thread.sp" */
  readonly path: string | undefined;
}

const KINDS = ["struct", "union", "enum"];
/** Suggestions that are told. */
const MOST = 5;

function known(types: TypeTable, type: string): boolean {
  return (
    types.sizeOf(type) !== undefined ||
    types.members(type) !== undefined ||
    (type.startsWith("enum ") && types.enumerators(type) !== undefined)
  );
}

/**
 * Of several kinds of one name the structure wins, then the union, the enum, the typedef.
 * @throws MissingError with similar names when there is no such type, or no such member
 */
export function resolveType(types: TypeTable, text: string): TypeChoice {
  const bare = text.trim().replace(/\s+/g, " ");
  const dot = bare.search(/[.[]/);
  const name = dot < 0 ? bare : bare.slice(0, dot);
  const path = dot < 0 ? undefined : bare.slice(bare[dot] === "." ? dot + 1 : dot);
  const type = typeCalled(types, name);
  if (type === undefined) {
    const like = similar(types.names(), name);
    throw new MissingError(
      `the type ${name} in ${types.origin}`,
      like.length > 0
        ? `did you mean ${like.join(", ")}?`
        : "palimpsest types DUMP PATTERN (with * and ?) lists what there is",
    );
  }
  if (path !== undefined && types.member(type, path) === undefined && types.members(type, path) === undefined) {
    const parent = path.includes(".") ? path.slice(0, path.lastIndexOf(".")) : undefined;
    const around = types.members(type, parent)?.map((member) => member.name) ?? [];
    const like = similar(around, path.slice(path.lastIndexOf(".") + 1).replace(/\[.*$/, ""));
    throw new MissingError(
      `the member ${path} of ${type} in ${types.originOf(type) ?? types.origin}`,
      like.length > 0 ? `did you mean ${like.join(", ")}?` : undefined,
    );
  }
  return { type, path };
}

/** The type as the table calls it, pointers to it too: "task_struct *" is a "struct task_struct *". */
function typeCalled(types: TypeTable, name: string): string | undefined {
  const [, pointed, stars] = /^(.*?)\s*((?:\*\s*)+)$/.exec(name) ?? [];
  if (stars !== undefined) {
    const to = pointed === "void" || pointed === "char" ? pointed : typeCalled(types, pointed);
    return to && `${to} ${stars.replaceAll(/\s/g, "")}`;
  }
  const hasKind = KINDS.some((kind) => name.startsWith(`${kind} `));
  return (hasKind ? [name] : [...KINDS.map((kind) => `${kind} ${name}`), name]).find((each) => known(types, each));
}

/** Names that differ in few letters, or hold the wanted one; the nearest first. */
export function similar(names: Iterable<string>, wanted: string): string[] {
  const bare = (name: string): string => name.replace(/^(struct|union|enum) /, "");
  const word = bare(wanted);
  const found = new Map<string, number>();
  for (const name of names) {
    const distance = changes(bare(name), word, 2);
    if (distance <= 2) found.set(name, distance);
    else if (word.length >= 3 && bare(name).startsWith(word)) found.set(name, 3 + bare(name).length - word.length);
  }
  return [...found]
    .sort(([, a], [, b]) => a - b)
    .slice(0, MOST)
    .map(([name]) => name);
}
