// The text of `types`, in the form of a C declaration with offsets in front.
import type { MemberFact, TypesResult } from "../results/types-results.ts";
import { counted, grouped } from "./format.ts";
import type { Paint } from "./paint.ts";

/** Each type with its members; names of a pattern one a line. */
export function typesText(result: TypesResult, paint: Paint): string {
  const lines: string[] = [];
  for (const type of result.types) {
    if (lines.length > 0) lines.push("");
    const size = type.size === null ? "size unknown" : counted(type.size, "byte");
    lines.push(`${paint.bold(type.name)}  ${size}${paint.dim(`  ${type.source}`)}`);
    lines.push(...memberLines(type.members, type.size, paint));
    const width = Math.max(0, ...type.enumerators.map(({ name }) => name.length));
    for (const { name, value } of type.enumerators) lines.push(`  ${name.padEnd(width)} = ${value}`);
  }
  for (const name of result.names) lines.push(name);
  if (result.leftOut > 0) lines.push(`… ${counted(result.leftOut, "more name", "more names")}; --limit 0 shows all`);
  return `${lines.join("\n")}\n`;
}

/** "  +0x1c0:3  int  flags : 5" */
function memberLines(members: readonly MemberFact[], size: number | null, paint: Paint): string[] {
  const offsets = members.map((each) => {
    const bits = each.bitSize === undefined ? "" : `:${each.bitOffset ?? 0}`;
    return `+0x${each.offset.toString(16)}${bits}`;
  });
  const offsetWidth = Math.max(0, ...offsets.map((text) => text.length));
  const typeWidth = Math.min(40, Math.max(0, ...members.map(({ type }) => type.length)));
  const lines: string[] = [];
  let end = members[0]?.offset ?? 0;
  const hole = (bytes: number): void => {
    lines.push(paint.dim(`  ${" ".repeat(offsetWidth)}  ${counted(bytes, "unused byte")}`));
  };
  members.forEach((member, i) => {
    // Where not all members are known nothing tells what is unused.
    if (size !== null && member.offset > end) hole(member.offset - end);
    end = Math.max(end, member.offset + member.size);
    const bits = member.bitSize === undefined ? "" : ` : ${member.bitSize}`;
    lines.push(
      `  ${offsets[i].padEnd(offsetWidth)}  ${member.type.padEnd(typeWidth)}  ${member.name}${bits}  ${paint.dim(grouped(member.size))}`,
    );
  });
  const start = members[0]?.offset ?? 0;
  if (size !== null && members.length > 0 && start === 0 && size > end) hole(size - end);
  return lines;
}
