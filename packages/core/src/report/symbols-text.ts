// The text of `symbols`, in nm's form.
import type { SymbolsResult } from "../results/results.ts";
import { bare, counted } from "./format.ts";

/** One symbol a line: address, type letter, name, [module]. */
export function symbolsText(result: SymbolsResult): string {
  const lines = result.matches.map(
    ({ address, type, name, module }) => `${bare(address)} ${type} ${name}${module === null ? "" : ` [${module}]`}`,
  );
  if (result.leftOut > 0) lines.push(`… ${counted(result.leftOut, "more match", "more matches")}; --limit 0 shows all`);
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}
