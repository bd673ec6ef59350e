// The zoo's document: what its kernels are, then what was found in their dumps.
import { type MatrixResult, renderMatrix } from "./matrix-report.ts";
import type { ZooRow } from "./zoo.ts";

/** How a row's kernel was built. */
export interface BuiltRow {
  /** "6.12.117-1+1a2b3c4d" */
  readonly version: string;
  /** What the compiler says of itself. */
  readonly compiler: string;
  /** By the clock. */
  readonly seconds: number;
}

/** The whole document. `built` tells of the rows whose kernels are there. */
export function renderZoo(
  rows: readonly ZooRow[],
  built: ReadonlyMap<ZooRow, BuiltRow>,
  results: readonly MatrixResult[],
): string {
  const missing = rows.filter((row) => !built.has(row)).length;
  const state = missing === 0 ? "" : ` ${missing} of them were not built for this table.`;
  const about = `Kernels built from Debian's \`linux-source-*\` packages with other configurations and compilers than Debian's, booted
under QEMU and diagnosed with \`palimpsest diagnose\`. Made by \`npm run lab -- zoo\`. There are ${rows.length} kernels.${state} Each starts
from \`allnoconfig\` with what a guest needs; \`packages/lab/zoo.ts\` and \`zoo-config.ts\` have every option. A dump
passes when nothing was found in it and nothing left out, its log is whole, each CPU has its registers and its task's stack, and no
lock is impossible or waited for by tasks: these guests are idle and healthy. Columns are those of [matrix.md](matrix.md).

${renderRows(rows, built)}`;
  return renderMatrix(results, { title: "Zoo", about });
}

function renderRows(rows: readonly ZooRow[], built: ReadonlyMap<ZooRow, BuiltRow>): string {
  const lines = rows.map((row) => {
    const facts = built.get(row);
    const cells = [row.name, row.about, facts?.compiler ?? row.compiler, facts?.version ?? "not built"];
    return `| ${cells.map((cell) => cell.replaceAll("|", "/")).join(" | ")} |`;
  });
  return `| kernel | configuration | compiler | source and recipe |\n|---|---|---|---|\n${lines.join("\n")}`;
}
