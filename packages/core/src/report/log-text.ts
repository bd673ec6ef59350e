// The text of `log`: as dmesg prints it, so that the two can be compared.
import type { LogLine, LogResult } from "../results/log-results.ts";
import type { Paint } from "./paint.ts";

const LEVELS = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
const FACILITIES =
  "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp res0 res1 res2 res3 local0 local1 local2 local3 local4 local5 local6 local7".split(
    " ",
  );

export interface LogTextOptions {
  /** "kern  :info  : " in front, as dmesg -x has it. */
  readonly decode: boolean;
  /** "[    T1]" behind the time, as CONFIG_PRINTK_CALLER has it. */
  readonly caller: boolean;
}

/** The level's number by its name or number; undefined for what is neither. */
export function levelNumber(text: string): number | undefined {
  const named = LEVELS.findIndex((name) => name === text || (name === "err" && text === "error"));
  if (named >= 0) return named;
  return /^[0-7]$/.test(text) ? Number(text) : undefined;
}

/** One message a line; each line of a message has its head. */
export function logText(result: LogResult, options: LogTextOptions, paint: Paint): string {
  let text = "";
  for (const message of result.messages) {
    const head = headOf(message, options, paint);
    const colour = colourOf(message.level, paint);
    const lines = message.text.split("\n");
    if (message.continues && text !== "") {
      text = text.slice(0, -1) + colour(visible(lines.shift() ?? ""));
      text += "\n";
    }
    for (const line of lines) text += `${head}${colour(visible(line))}\n`;
  }
  return text;
}

function headOf(message: LogLine, { decode, caller }: LogTextOptions, paint: Paint): string {
  const facility = message.facility === null ? "?" : (FACILITIES[message.facility] ?? String(message.facility));
  const level = message.level === null ? "?" : LEVELS[message.level];
  const mark = decode ? `${facility.padEnd(6)}:${level.padEnd(6)}: ` : "";
  const time = message.time === null ? "" : paint.dim(`[${stamp(message.time)}]`);
  const who = caller && message.caller !== null ? `[${message.caller.padStart(6)}]` : "";
  return `${mark}${time}${who}${time + who === "" ? "" : " "}`;
}

/** "1.234567890" → "    1.234567" */
function stamp(time: string): string {
  const [seconds, rest] = time.split(".");
  return `${seconds.padStart(5)}.${rest.slice(0, 6)}`;
}

function colourOf(level: number | null, paint: Paint): (text: string) => string {
  if (level !== null && level <= 3) return paint.red;
  return level === 4 ? paint.yellow : (text) => text;
}

/** Control characters as dmesg shows them: a message must not steer the reader's terminal. */
function visible(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) =>
    character === "\t" ? character : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
