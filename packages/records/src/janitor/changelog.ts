// Debian changelogs: entries, and the bugs that they say are closed. The two patterns are dpkg's own
// (Dpkg::Changelog::Entry::Debian and Dpkg::Vendor::Ubuntu); the tests hold them against dpkg-parsechangelog.

export interface ChangelogEntry {
  /** "linux" */
  readonly source: string;
  /** "3.0.0-10.16" */
  readonly version: string;
  /** "oneiric", "unstable", "UNRELEASED", "oneiric-proposed" */
  readonly distributions: readonly string[];
  readonly urgency: string;
  /** the entry as it stands, from its head to its trailer */
  readonly text: string;
  /** numbers after "Closes:" */
  readonly closes: readonly number[];
  /** numbers after "LP:" */
  readonly launchpad: readonly number[];
}

const CLOSES = /closes:\s*(?:bug)?#?\s?\d+(?:,\s*(?:bug)?#?\s?\d+)*/gi;
/** At least one blank after the colon: "lp:#77" names no bug. */
const LAUNCHPAD = /lp:\s+#\d+(?:,\s*#\d+)*/gi;

function numbersIn(text: string, pattern: RegExp): number[] {
  const numbers = new Set<number>();
  for (const [match] of text.matchAll(pattern)) {
    for (const [digits] of match.slice(match.indexOf(":")).matchAll(/\d+/g)) {
      const number = Number(digits);
      if (Number.isSafeInteger(number)) numbers.add(number);
    }
  }
  return [...numbers].sort((a, b) => a - b);
}

export function closesIn(text: string): number[] {
  return numbersIn(text, CLOSES);
}
export function launchpadIn(text: string): number[] {
  return numbersIn(text, LAUNCHPAD);
}

/** deb-changelog(5): "package (version) distributions; key=value, …" at the line's start. */
const HEAD = /^(\w[-+0-9a-z.]*) \(([^() \t]+)\)((?:\s+[-+0-9a-z.]+)+);(.*?)\s*$/i;
const TRAILER = /^ -- ?(.*?)\s{0,3}<(.*)> {0,3}(.*)$/;
/** What ends a changelog as dpkg reads it: editors' words, and the formats of before 1996, which go on to the file's end. */
const END =
  /^(?:(?:;;\s*)?Local variables:|vim:|(?:\w+\s+){0,2}\w+\s+\d{1,2} \d{1,2}:\d{1,2}|Old Changelog:\s*$|Changes (?:from|for) version|Changes in [\d.]+)/i;

/** Newest first, as in the file. What is not in the format is left out. */
export function parseChangelog(text: string): ChangelogEntry[] {
  const out: ChangelogEntry[] = [];
  let head: RegExpExecArray | undefined;
  let lines: string[] = [];
  const finish = (): void => {
    if (head === undefined) return;
    while (lines.length > 1 && lines.at(-1)!.trim() === "") lines.pop();
    const [first = "", ...rest] = lines;
    // The numbers are read from the changes alone: a maintainer's name or a head closes nothing.
    const changes = rest.filter((line) => !TRAILER.test(line)).join("\n");
    out.push({
      source: head[1]!,
      version: head[2]!,
      distributions: head[3]!.trim().split(/\s+/),
      urgency: /urgency\s*=\s*([\w-]+)/i.exec(head[4]!)?.[1]?.toLowerCase() ?? "",
      text: [first, ...rest].join("\n"),
      closes: closesIn(changes),
      launchpad: launchpadIn(changes),
    });
    head = undefined;
    lines = [];
  };
  for (const raw of text.split("\n")) {
    const line = raw.replace(/\s+$/, "");
    const found = HEAD.exec(line);
    if (found !== null) {
      finish();
      head = found;
      lines = [line];
      continue;
    }
    if (END.test(line)) break;
    if (/^\S/.test(line)) continue; // RCS keywords, comments, and heads that are none
    if (head === undefined) continue;
    lines.push(line);
    if (TRAILER.test(line)) finish();
  }
  finish();
  return out;
}

/** A control file's fields (deb822): .changes and .dsc, signed or not. */
export function controlFields(text: string): ReadonlyMap<string, string> {
  const out = new Map<string, string>();
  let name: string | undefined;
  const body = text
    .replace(/^-----BEGIN PGP SIGNED MESSAGE-----\n(?:[^\n]+\n)*\n/, "")
    .split("\n-----BEGIN PGP SIGNATURE-----")[0]!;
  for (const line of body.split("\n")) {
    const head = /^([!-9;-~]+):\s*(.*)$/.exec(line);
    if (head !== null) {
      name = head[1]!.toLowerCase();
      out.set(name, head[2]!.trimEnd());
    } else if (/^[ \t]/.test(line) && name !== undefined) {
      out.set(name, `${out.get(name)}\n${line.slice(1)}`);
    } else if (line.trim() === "" && out.size > 0) break;
  }
  return out;
}
