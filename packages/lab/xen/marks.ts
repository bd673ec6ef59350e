// Reads what dom0 said on Xen's console ("@xen:NAME …", "@xen:…") and words how each guest ended. Pure, so that every
// way in which a session can go wrong has a test.
import type { GuestResult, Outcome } from "./types.ts";

export interface Mark {
  readonly words: readonly string[];
}

/** The marks of a console, in order. The guests' own lines run between them. */
export function readMarks(console: string): Mark[] {
  return [...console.matchAll(/@xen:([^\r\n]*)[\r\n]/g)].map(([, text]) => ({ words: text.trim().split(/\s+/) }));
}

/** Where the session stands. */
export interface SessionState {
  /** "start", "up", "tools", "off", or the guest that is at work. */
  readonly stage: string;
  /** dom0 gave up, in its own words. */
  readonly fault: string | undefined;
  /** Guests that ended, with how. */
  readonly done: ReadonlyMap<string, GuestResult>;
}

/** What the console tells of the session. */
export function sessionState(console: string, guests: readonly string[]): SessionState {
  const marks = readMarks(console);
  const done = new Map<string, GuestResult>();
  let stage = "start";
  let fault: string | undefined;
  for (const { words } of marks) {
    if (words[0] === "fault") fault = words.slice(1).join(" ");
    if (words[0] === "up" || words[0] === "tools" || words[0] === "off") stage = words[0];
    if (guests.includes(words[0])) stage = words[0];
    if (guests.includes(words[0]) && words[1] === "done") done.set(words[0], guestResult(marks, words[0]));
  }
  return { stage, fault, done };
}

/** How one guest ended, from its marks up to now. */
export function guestResult(marks: readonly Mark[], name: string): GuestResult {
  const own = marks.filter(({ words }) => words[0] === name).map(({ words }) => words.slice(1));
  const find = (key: string) => own.findLast((words) => words[0] === key);
  const number = (text: string | undefined) => Number(text ?? Number.NaN);
  const start = number(find("create")?.[1]);
  const created = find("created");
  const ended = find("outcome");
  const dump = find("dump");
  const dumped = find("dumped");
  const seconds = (from: number, to: number) => (Number.isFinite(to - from) ? to - from : 0);
  const times = {
    createSeconds: seconds(start, number(created?.[2])),
    bootSeconds: seconds(number(created?.[2]), number(ended?.at(-1))),
    dumpSeconds: seconds(number(dump?.[1]), number(dumped?.[3])),
    beats: ended ? number(ended.at(-2)) : 0,
  };
  const judged = (outcome: Outcome, reason: string): GuestResult => ({ outcome, reason, ...times });
  if (!created) return judged("emulation", own.length > 0 ? "dom0 stopped while it made the domain" : "never began");
  if (created[1] !== "0") return judged("emulation", `xl create: exit code ${created[1]}`);
  if (!ended) return judged("emulation", "dom0 stopped while the guest booted");
  const [, kind, why] = ended;
  if (!dumped) return judged("emulation", `dom0 stopped before the core of a guest that ${kind} was written`);
  if (dumped[1] !== "0") return judged("emulation", `xl dump-core: exit code ${dumped[1]} (the guest: ${kind})`);
  if (kind === "booted") return judged("booted", "ready, and its heartbeat went round all vCPUs");
  if (kind === "hung") return judged("hung", `nothing new for ${why.replace(/\D/g, "")} s`);
  if (kind === "crashed") return judged("crashed", why.replaceAll("-", " "));
  return judged("emulation", "still booting when its time was over");
}
