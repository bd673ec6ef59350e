// Generated code as text: the list of `info`, and the lines of `diagnose` and `audit`.
import type { GeneratedAccount, GeneratedFact } from "../results/generated-results.ts";
import { bare, counted, grouped, table } from "./format.ts";
import type { Paint } from "./paint.ts";

const STATES: Readonly<Record<GeneratedFact["state"], string>> = {
  checked: "as its owner wrote it",
  branches: "leads only to functions",
  differs: "differs",
  changing: "being changed",
  listed: "not checked",
};

/** The section of `info`; empty when the kernel made no code. */
export function generatedLines(pieces: readonly GeneratedFact[], paint: Paint): string[] {
  if (pieces.length === 0) return [];
  const rows = pieces.map(({ kind, owner, address, bytes, state }) => [
    kind,
    bare(address),
    grouped(bytes),
    STATES[state],
    owner,
  ]);
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) => {
    const [kind, address, bytes, state, owner] = row.map((cell, i) =>
      i === 2 ? cell.padStart(widths[i]) : i === 4 ? cell : cell.padEnd(widths[i]),
    );
    return `  ${kind}  ${address}  ${bytes}  ${state}  ${owner}`;
  });
  const problems = pieces.filter((piece) => piece.problem !== null);
  return [
    "",
    paint.bold(`${counted(pieces.length, "piece")} of generated code`),
    ...lines,
    ...problems.map(({ address, problem }) => paint.yellow(`  ${bare(address)}: ${problem}`)),
  ];
}

/** One line for `diagnose`, a table for `audit`. */
export function generatedBlock(account: GeneratedAccount, detailed: boolean): string[] {
  if (account.pieces === 0) return [];
  if (!detailed) {
    const kinds = Object.entries(account.kinds).map(([kind, { pieces }]) => `${grouped(pieces)} ${kind}`);
    const differing = account.differing > 0 ? `, ${grouped(account.differing)} differ` : "";
    return [
      `  generated code: ${counted(account.pieces, "piece")}, ${counted(account.bytes, "byte")}; ` +
        `${grouped(account.checked)} checked against their owners${differing} (${kinds.join(", ")})`,
    ];
  }
  return [
    "",
    ...table([
      ["generated code", "pieces", "bytes", "checked", "differ"],
      ...Object.entries(account.kinds).map(([kind, each]) => [
        kind,
        grouped(each.pieces),
        grouped(each.bytes),
        grouped(each.checked),
        grouped(each.differing),
      ]),
    ]),
  ];
}
