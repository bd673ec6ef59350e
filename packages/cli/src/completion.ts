// Completion scripts of the usual shells, out of the table of commands: names of commands, their options and the choices
// of these; everything else is a file.
import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly Option[];
}

/** The script that the shell evaluates. */
export function completionScript(program: Command, shell: Shell): string {
  const help = program.createHelp();
  const common = program.options;
  const entries = help
    .visibleCommands(program)
    .filter((command) => command.name() !== "help")
    .map((command): Entry => {
      const options = [...help.visibleOptions(command), ...common];
      return { name: command.name(), summary: command.summary() || command.description(), options };
    });
  return { bash, zsh, fish }[shell](entries);
}

const flagsOf = ({ options }: Entry): string => options.map(({ long, short }) => long ?? short).join(" ");
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Options whose argument is one of a few words. */
function choicesOf(entries: readonly Entry[]): ReadonlyMap<string, string> {
  const choices = entries.flatMap(({ name, options }) =>
    options.flatMap(({ long, argChoices }) =>
      long == null || argChoices === undefined ? [] : [[`${name} ${long}`, argChoices.join(" ")] as const],
    ),
  );
  return new Map(choices);
}

function bash(entries: readonly Entry[]): string {
  const cases = (list: Iterable<readonly [string, string]>): string =>
    Array.from(list, ([key, words]) => `    ${quoted(key)}) words=${quoted(words)} ;;`).join("\n");
  return `# palimpsest completion bash > ~/.local/share/bash-completion/completions/palimpsest
_palimpsest() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command=\${COMP_WORDS[1]} words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W ${quoted(entries.map(({ name }) => name).join(" "))} -- "$current")
    return
  fi
  case "$command $before" in
${cases(choicesOf(entries))}
  esac
  if [[ -z $words && $current == -* ]]; then
    case "$command" in
${cases(entries.map((entry) => [entry.name, flagsOf(entry)] as const))}
    esac
  fi
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -o filenames -F _palimpsest palimpsest
`;
}

function zsh(entries: readonly Entry[]): string {
  const text = (words: string): string => words.replace(/[[\]:\\]/g, "\\$&");
  const spec = ({ long, description, argChoices, required }: Option): string => {
    const argument = argChoices !== undefined ? `:choice:(${argChoices.join(" ")})` : required ? ":value:_files" : "";
    return `      ${quoted(`${long}[${text(description)}]${argument}`)} \\`;
  };
  return `#compdef palimpsest
# palimpsest completion zsh > a folder of $fpath/_palimpsest
_palimpsest() {
  if ((CURRENT == 2)); then
    local -a commands=(
${entries.map(({ name, summary }) => `      ${quoted(`${name}:${text(summary)}`)}`).join("\n")}
    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${entries.map((entry) => `    ${entry.name}) _arguments \\\n${entry.options.map(spec).join("\n")}\n      '*:file:_files' ;;`).join("\n")}
  esac
}
_palimpsest "$@"
`;
}

function fish(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ name, summary, options }) => [
    `complete -c palimpsest -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
    ...options.map(({ long, description, argChoices, required }) => {
      const argument = argChoices !== undefined ? ` -x -a ${quoted(argChoices.join(" "))}` : required ? " -r" : "";
      const seen = `-n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
      return `complete -c palimpsest ${seen} -l ${(long ?? "").slice(2)}${argument} -d ${quoted(description)}`;
    }),
  ]);
  return `# palimpsest completion fish > ~/.config/fish/completions/palimpsest.fish\n${lines.join("\n")}\n`;
}
