// `boot-order`: slots written after the code that uses them was patched, from the kernel image alone.
import type { Command } from "commander";
import { TOOL } from "../../../core/src/analysis/version.ts";
import { bootOrder } from "../../../core/src/boot-order/result.ts";
import { bootOrderText } from "../../../core/src/report/boot-order-text.ts";
import { openFiles } from "../../../node/src/files.ts";
import { fail } from "../failure.ts";
import { type GlobalOptions, note, paintFor } from "../terminal.ts";
import { COULD_NOT, FOUND, printResult } from "./common.ts";

export function registerBootOrder(program: Command): void {
  program
    .command("boot-order <image>")
    .description("slots written after the code that uses them was patched, from a kernel image alone")
    .option("--json", "print the result as JSON (docs/json.md; schemas ship in schema/)")
    .option("--no-cache", "do not keep or use unpacked images under the user's cache folder")
    .action((path: string, _options: unknown, command: Command) => run(path, command.optsWithGlobals<GlobalOptions>()));
}

async function run(path: string, options: GlobalOptions): Promise<void> {
  try {
    // A folder or a package is searched for its one image, as --image is.
    const files = openFiles({ imageFlag: path, useCache: options.cache, note });
    const { image } = await files.image({});
    const result = bootOrder(image, TOOL);
    const paint = paintFor(options.color);
    printResult(options, result, (r) => bootOrderText(r, paint));
    const patched = result.tables.every((table) => table.boots.some((boot) => boot.patchPath !== null));
    const counted = result.findings.filter((finding) => finding.severity !== "note").length;
    process.exitCode = counted > 0 ? FOUND : patched ? 0 : COULD_NOT;
  } catch (error) {
    fail(error, options.json ?? false);
  }
}
