// The command's entry: what the shell gave goes in, an exit status comes out. A bug anywhere still ends in one line (or
// valid JSON) and status 2, never in a stack trace.
import { fail } from "./failure.ts";
import { run, wantsJson } from "./run.ts";

const args = process.argv.slice(2);

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that went away (`| head`) has seen what it wanted; anything else (a full disk) lost the result.
  if (error.code !== "EPIPE") fail(error, false);
});
process.stderr.on("error", () => {});
process.on("uncaughtException", (error) => fail(error, wantsJson(args)));

await run(args);
