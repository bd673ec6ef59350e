// `completion`: what a shell needs to complete palimpsest's commands. `manual`, which packaging asks: the manual page.
import { Argument, type Command } from "commander";
import { completionScript, SHELLS, type Shell } from "../completion.ts";
import { manualPage } from "../manual.ts";
import { print } from "../terminal.ts";

/** @param notes what --help tells below the commands */
export function registerCompletion(program: Command, notes: string): void {
  program
    .command("completion")
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .description("a script that completes commands and options in bash, zsh or fish")
    .action((shell: Shell) => {
      print(completionScript(program, shell));
      process.exitCode = 0;
    });
  program
    .command("manual", { hidden: true })
    .description("the manual page")
    .action(() => {
      print(manualPage(program, notes));
      process.exitCode = 0;
    });
}
