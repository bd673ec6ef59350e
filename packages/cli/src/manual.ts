// The manual page, out of the table of commands: what --help tells, as man(1) reads it.
import type { Command, Help, Option } from "commander";
import { VERSION } from "../../core/src/analysis/version.ts";

/** Text as troff takes it literally. */
const literal = (text: string): string =>
  text
    .replace(/\\/g, "\\e")
    .replace(/-/g, "\\-")
    .replace(/^([.'])/gm, "\\&$1");

const bold = (text: string): string => `\\fB${literal(text)}\\fR`;

/** @param trailer what --help tells below the commands */
export function manualPage(program: Command, trailer: string): string {
  const help = program.createHelp();
  const commands = help.visibleCommands(program).filter((command) => command.name() !== "help");
  return [
    `.TH PALIMPSEST 1 "" "palimpsest ${VERSION}" "User Commands"`,
    ".SH NAME",
    `palimpsest \\- ${literal(lowerFirst(program.description().replace(/\.$/, "")))}`,
    ".SH SYNOPSIS",
    `.B palimpsest`,
    "\\fICOMMAND\\fR [\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]",
    ".SH DESCRIPTION",
    literal(program.description()),
    ".SH COMMANDS",
    ...commands.flatMap((command) => section(command, help)),
    ".SH OPTIONS OF ALL COMMANDS",
    ...program.options.flatMap((option) => item(option, help)),
    ".SH NOTES",
    ".nf",
    literal(trailer.trim()),
    ".fi",
    "",
  ].join("\n");
}

function section(command: Command, help: Help): string[] {
  return [
    ".SS",
    bold(help.commandUsage(command).replace(" [options]", "")),
    ".PP",
    literal(command.description()),
    ...help
      .visibleOptions(command)
      .filter((option) => option.long !== "--help")
      .flatMap((option) => item(option, help)),
  ];
}

function item(option: Option, help: Help): string[] {
  return [".TP", bold(option.flags), literal(help.optionDescription(option))];
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
