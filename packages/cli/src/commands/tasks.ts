// `tasks` and `stack`: every task of the dump, and where it stands. crash's names for them are accepted too.
import { type Command, InvalidArgumentError, Option } from "commander";
import { stackText, tasksText } from "../../../core/src/report/tasks-text.ts";
import type { GlobalOptions } from "../terminal.ts";
import { COULD_NOT, dumpCommand, printResult, withDump } from "./common.ts";

interface TasksOptions extends GlobalOptions {
  readonly state?: string;
  readonly tree?: boolean;
  readonly last?: boolean;
  readonly registers?: boolean;
}

const stateOption = (): Option =>
  new Option("--state <letters>", "only tasks in these states: R S D T t X Z P I, as ps has them").argParser(
    (text: string) => {
      if (!/^[RSDTtXZPI]+$/.test(text)) throw new InvalidArgumentError("It takes letters of R S D T t X Z P I.");
      return text;
    },
  );

export function registerTasks(program: Command): void {
  dumpCommand(program, "tasks", "[pattern]", "every task: PID, state, CPU, since when, the function it sleeps in")
    .alias("ps")
    .addOption(stateOption())
    .option("--tree", "children below their parents")
    .option("--last", "those that ran last come first")
    .action((dump: string, pattern: string | undefined, _options: unknown, command: Command) =>
      tasks(dump, pattern, command),
    );
  dumpCommand(program, "stack", "[who]", "the stack of a PID, a task's address, cpu:N, all, or tasks of a name")
    .alias("bt")
    .addOption(stateOption())
    .option("--registers", "the registers of each level")
    .option("-a", "the tasks that are on CPUs, as crash's bt -a")
    .action((dump: string, who: string | undefined, _options: unknown, command: Command) => stack(dump, who, command));
}

async function tasks(dump: string, pattern: string | undefined, command: Command): Promise<void> {
  const options = command.optsWithGlobals<TasksOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.tasks({ pattern, states: options.state });
    printResult(options, result, (r) =>
      tasksText(r, { tree: options.tree ?? false, last: options.last ?? false }, paint),
    );
    return result.complete ? 0 : COULD_NOT;
  });
}

async function stack(dump: string, who: string | undefined, command: Command): Promise<void> {
  const options = command.optsWithGlobals<TasksOptions & { readonly a?: boolean }>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const pattern = who ?? (options.state === undefined ? "cpu:*" : "all");
    const result = await analysis.stack({ pattern: options.a ? "cpu:*" : pattern, states: options.state });
    printResult(options, result, (r) => stackText(r, options.registers ?? false, paint));
    return result.stacks.some(({ levels, end }) => levels.length > 0 || end === "user") ? 0 : COULD_NOT;
  });
}
