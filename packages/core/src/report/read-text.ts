// The text of `read`: rows as hexdump -C has them, gaps told where they are, and a structure member by member.
import type { ReadResult } from "../results/read-results.ts";
import { bare, counted } from "./format.ts";
import type { Paint } from "./paint.ts";

/** The whole text. */
export function readText(result: ReadResult, paint: Paint): string {
  const name = result.symbol === "" ? "" : `  ${result.symbol}`;
  const physical = result.physical === null ? "" : paint.dim(`  physical ${bare(result.physical)}`);
  const head = `${paint.bold(bare(result.address))}${name}${physical}`;
  const lines = [head, ...(result.type === null ? rowLines(result, paint) : typeLines(result.type, paint))];
  return `${lines.join("\n")}\n`;
}

function rowLines(result: ReadResult, paint: Paint): string[] {
  const entries = [
    ...result.rows.map(({ address, bytes, ascii }) => ({ address, text: `  ${bare(address)}: ${bytes}  ${ascii}` })),
    ...result.absent.map(({ address, length, reason }) => ({
      address,
      text: paint.yellow(`  ${bare(address)}: ${counted(length, "byte")} not in the dump: ${reason}`),
    })),
  ];
  // Addresses are of one length, so that their text sorts as they do; a gap is told before the row that it ends in.
  entries.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  return entries.map(({ text }) => text);
}

function typeLines(type: NonNullable<ReadResult["type"]>, paint: Paint): string[] {
  const lines = [paint.dim(`${type.name}, layout by ${type.source}`)];
  const offsets = type.members.map(({ offset, bitSize, bitOffset }) => {
    const bits = bitSize === undefined ? "" : `:${bitOffset ?? 0}`;
    return `+0x${offset.toString(16)}${bits}`;
  });
  const offsetWidth = Math.max(0, ...offsets.map((text) => text.length));
  const width = Math.min(44, Math.max(0, ...type.members.map(({ path }) => path.length)));
  type.members.forEach(({ path, value, type: typeName }, i) => {
    const shown = value === null ? paint.yellow("not in the dump") : value;
    lines.push(
      `  ${offsets[i].padEnd(offsetWidth)}  ${path.padEnd(width)}  ${shown}  ${paint.dim(typeName)}`.trimEnd(),
    );
  });
  if (type.leftOut > 0)
    lines.push(`… ${counted(type.leftOut, "more member", "more members")}; name a member to see it`);
  return lines;
}
