// What every command about a dump needs: open it, know the kernel, find the images.
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Analysis } from "../../../core/src/analysis/analysis.ts";
import { UsageError } from "../../../core/src/analysis/refusals.ts";
import type { Paint } from "../../../core/src/report/paint.ts";
import { jsonText, visibleValues } from "../../../core/src/report/visible.ts";
import { openDump } from "../../../node/src/open-dump.ts";
import { fail } from "../failure.ts";
import { type GlobalOptions, note, Progress, paintFor, print } from "../terminal.ts";

export interface CommandContext {
  readonly analysis: Analysis;
  readonly paint: Paint;
}

/** Exit status of a command that found something. */
export const FOUND = 1;
/** … and of one that could not do its work, or not all of it. */
export const COULD_NOT = 2;

/** Adds the options that all commands on a dump share. */
export function dumpCommand(
  program: Command,
  name: string,
  args: string,
  description: string,
  dump = "<dump>",
): Command {
  return (
    program
      .command(`${name} ${dump}${args === "" ? "" : ` ${args}`}`)
      .description(description)
      // What WHERE may be is told once, below the list of commands.
      .summary(description.replace(/ \([^()]*\)/, ""))
      .option("--json", "print the result as JSON (docs/json.md; schemas ship in schema/)")
      .option("--image <file>", "kernel image: vmlinuz, vmlinux, a .deb or .rpm, or a folder with one of them")
      .option("--modules <dir>", "modules: a folder, a .ko, a .deb or an .rpm")
      .option("--debug-info <file>", "vmlinux or .ko with DWARF, for kernels without BTF")
      .option("--force", "compare with images of another build too")
      .option("--no-cache", "do not keep or use unpacked images under the user's cache folder")
  );
}

/** Runs the body with everything opened; turns errors into words and exit status 2. */
export async function withDump(
  dumpPath: string,
  options: GlobalOptions,
  body: (context: CommandContext) => Promise<number> | number,
): Promise<void> {
  const json = options.json ?? false;
  const progress = new Progress(json);
  let analysis: Analysis | undefined;
  try {
    const { image, modules, debugInfo, cache, force } = options;
    analysis = await openDump(dumpPath, {
      image,
      modules,
      debugInfo,
      cache,
      force,
      onProgress: ({ part, what }) => (part < 1 ? progress.update(part, what) : progress.end()),
      onNote: (sentence) => note(`palimpsest: ${sentence}`),
    });
    process.exitCode = await body({ analysis, paint: paintFor(options.color) });
  } catch (error) {
    progress.end();
    fail(error, json);
  } finally {
    progress.end();
    analysis?.close();
  }
}

/**
 * The one place that prints a result: JSON of the object, or the text made from it. No name in it reaches a terminal with
 * control characters, or begins a line of its own.
 * @param lines the result's strings may have several lines: the log's messages
 */
export function printResult<T>(options: GlobalOptions, result: T, text: (result: T) => string, lines = false): void {
  print(options.json ? `${jsonText(result)}\n` : text(visibleValues(result, lines)));
}

const WHOLE = /^\d{1,15}$/;

/** An option whose argument is a whole number, refused before any work when it is not. */
export function wholeNumberOption(flags: string, description: string, fallback?: string): Option {
  const option = new Option(flags, description).argParser((text: string) => {
    if (!WHOLE.test(text)) throw new InvalidArgumentError("It takes a whole number.");
    return text;
  });
  return fallback === undefined ? option : option.default(fallback);
}

/** The value of such an option. @throws UsageError when it is no whole number */
export function wholeNumber(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  if (!WHOLE.test(text)) throw new UsageError(`"${text}" is no whole number`);
  return Number(text);
}
