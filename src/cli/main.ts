// The command line: parses arguments, runs one command, sets the exit status.
import { Command, CommanderError } from "commander";
import { registerDiagnose } from "./commands/diagnose.ts";
import { registerInfo } from "./commands/info.ts";
import { registerSite } from "./commands/site.ts";
import { registerSymbols } from "./commands/symbols.ts";
import { VERSION } from "./version.ts";

const program = new Command();
program
  .name("palimpsest")
  .description("Reads what a Linux x86-64 kernel wrote over its own code, and proves why it hangs.")
  .version(VERSION)
  .option("--color <when>", "auto, always or never", "auto")
  .showHelpAfterError("(palimpsest COMMAND --help tells the command's arguments)")
  .addHelpText(
    "after",
    `
Exit status: 0 nothing found, 1 findings, 2 could not do it.
Dumps: ELF vmcore (QEMU, /proc/vmcore), kdump-compressed and flattened, Xen dump-core.
Images are looked for in /boot, /usr/lib/debug, /lib/modules/RELEASE and beside the dump.

  palimpsest diagnose vmcore
  palimpsest site vmcore _raw_spin_lock_irq`,
  )
  .exitOverride();

registerDiagnose(program);
registerInfo(program);
registerSite(program);
registerSymbols(program);

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exitCode = 0;
});

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // commander has printed its message; help and version are no failure.
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}
