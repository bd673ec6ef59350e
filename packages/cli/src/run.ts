// One run of the command line, without the process around it: parses arguments, runs one command, sets the exit status.
// Tests call it in-process.
import { Command, CommanderError, Option } from "commander";
import { UsageError } from "../../core/src/analysis/refusals.ts";
import { VERSION } from "../../core/src/analysis/version.ts";
import { registerBootOrder } from "./commands/boot-order.ts";
import { registerCompletion } from "./commands/completion.ts";
import { registerCpus } from "./commands/cpus.ts";
import { registerDemo } from "./commands/demo.ts";
import { registerDiagnose } from "./commands/diagnose.ts";
import { registerExplain } from "./commands/explain.ts";
import { registerInfo } from "./commands/info.ts";
import { registerLocks } from "./commands/locks.ts";
import { registerLog } from "./commands/log.ts";
import { registerProve } from "./commands/prove.ts";
import { registerRead } from "./commands/read.ts";
import { registerJanitor } from "./commands/records/janitor.ts";
import { registerRecord } from "./commands/records/record.ts";
import { registerServe } from "./commands/records/serve.ts";
import { registerSite } from "./commands/site.ts";
import { registerSymbols } from "./commands/symbols.ts";
import { registerSys } from "./commands/sys.ts";
import { registerTasks } from "./commands/tasks.ts";
import { registerTypes } from "./commands/types.ts";
import { fail } from "./failure.ts";
import { note, print } from "./terminal.ts";

/** A new command is one file in commands/ and one line here. */
const COMMANDS: readonly ((program: Command) => void)[] = [
  registerDiagnose,
  registerInfo,
  registerSys,
  registerSite,
  registerLog,
  registerCpus,
  registerTasks,
  registerLocks,
  registerProve,
  registerBootOrder,
  registerSymbols,
  registerTypes,
  registerRead,
  registerExplain,
  registerRecord,
  registerJanitor,
  registerServe,
];

const HELP = `
WHERE is an address, symbol, symbol+0x10 or module:symbol.
Exit status: 0 nothing found, 1 findings, 2 could not do it, or not all of it.
Dumps: ELF vmcore (QEMU, /proc/vmcore), kdump-compressed and flattened (zlib, lzo, snappy,
zstd), Xen dump-core, LiME, AVML, raw memory.
Images and modules are looked for in /boot, /usr/lib/debug, /lib/modules/RELEASE and
beside the dump; a .deb or .rpm is accepted wherever a file or folder is.

  palimpsest diagnose vmcore
  palimpsest diagnose vmcore --image vmlinuz --modules /lib/modules/6.1.0-56-amd64
  palimpsest site vmcore _raw_spin_lock_irq`;

/** True when the arguments ask for JSON, even if nothing else in them makes sense. */
export function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return (end < 0 ? args : args.slice(0, end)).includes("--json");
}

/** Runs one command. Never throws; the outcome is on stdout and stderr and in `process.exitCode`. */
export async function run(args: readonly string[]): Promise<void> {
  const json = wantsJson(args);
  let complaint = "";
  const program = new Command();
  program
    .name("palimpsest")
    .description("Reads what a Linux x86-64 kernel wrote over its own code, and proves why it hangs.")
    .version(VERSION)
    .addOption(new Option("--color <when>", "colours on stdout").choices(["auto", "always", "never"]).default("auto"))
    .showHelpAfterError("(palimpsest COMMAND --help tells the command's arguments)")
    .addHelpText("after", HELP)
    .configureOutput({
      writeOut: print,
      writeErr: (text) => {
        complaint += text;
        if (!json) note(text.trimEnd().replace(/^error: /, "palimpsest: "));
      },
    })
    .exitOverride();
  for (const register of COMMANDS) register(program);
  registerDemo(program, run);
  registerCompletion(program, HELP);
  try {
    const [first, topic] = args;
    if (first === "help" && topic !== undefined && !program.commands.some((each) => each.name() === topic))
      throw new UsageError(`no command is called "${topic}"`, "palimpsest --help lists them");
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      fail(error, json);
    } else if (error.exitCode === 0) {
      process.exitCode = 0; // help or version, asked for
    } else {
      process.exitCode = 2; // commander has told it on stderr, but for JSON
      if (json) fail(usageError(error, complaint), true);
    }
  }
}

function usageError(error: CommanderError, complaint: string): UsageError {
  const line = complaint.split("\n").find((each) => each.startsWith("error: ")) ?? "";
  // Without a command commander shows its whole help, which is no message.
  const message = line === "" ? "no command was given" : line.slice("error: ".length);
  const meant = /\((Did you mean .*\?)\)/.exec(complaint)?.[1];
  return new UsageError(
    error.code === "commander.help" ? "no command was given" : message,
    meant ?? "palimpsest --help",
  );
}
