// One boot of Xen with its dom0, and any number of guests in it one after the other. What emulation takes away is told from
// what the guests did; what the machine left on its disk is brought out whatever happened.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LabError } from "../errors.ts";
import { initramfs } from "../guest.ts";
import { readBusybox } from "../make-dump.ts";
import { cacheFolder } from "../paths.ts";
import { makeDisk, readDisk } from "./disk.ts";
import { BOOT_SECONDS, CREATE_SECONDS, DUMP_SECONDS, jobScript } from "./dom0-script.ts";
import { guestConfig } from "./guest-config.ts";
import { leftovers } from "./leftovers.ts";
import { canNest, XenMachine } from "./machine.ts";
import { guestResult, readMarks, type SessionState, sessionState } from "./marks.ts";
import { dom0Archive, requireSpace, type XenSetup } from "./setup.ts";
import type { GuestResult, PreparedGuest } from "./types.ts";

const DOM0_MEGABYTES = 768;
/** Xen itself, and the memory that guests need beside their own. */
const SPARE_MEGABYTES = 512;
/** dom0 tells every dozen seconds where it is. So long without a word, and it is gone. */
const SILENCE_SECONDS = 300;
const LIMITS: Readonly<Record<string, number>> = { start: 180, up: 240, tools: 120, off: 120 };

export interface SessionSettings {
  readonly xenArguments: string;
  /** Also write the whole machine's memory, from outside, as each guest ends: a second way to its memory. */
  readonly outer: boolean;
  /** Seconds after which the session is ended, whatever it does. */
  readonly limitSeconds?: number;
}

/** What a session gave: a result for each guest that it came to, and the folder that their files lie in. */
export interface SessionOutcome {
  readonly results: ReadonlyMap<string, GuestResult>;
  /** Why the session ended before its time; undefined when it did not. */
  readonly trouble: string | undefined;
  readonly seconds: number;
}

/**
 * Boots Xen and runs `guests`; their files come to `into`/NAME, Xen's console to `into`/xen-console.txt.
 * @throws LabError when there is no space, a program is missing, or something was left behind
 */
export async function runSession(
  setup: XenSetup,
  guests: readonly PreparedGuest[],
  into: string,
  settings: SessionSettings,
  note: (line: string) => void,
): Promise<SessionOutcome> {
  const diskMegabytes = 128 + guests.reduce((sum, guest) => sum + guest.memoryMegabytes + 48, 0);
  requireSpace(cacheFolder("xen"), 2 * diskMegabytes * 2 ** 20);
  const folder = mkdtempSync(join(cacheFolder("xen"), "session-"));
  const outcome = await inFolder(folder, setup, guests, into, settings, note, diskMegabytes).finally(() =>
    rmSync(folder, { recursive: true, force: true }),
  );
  const left = leftovers(folder);
  if (left.length > 0) throw new LabError(`the session left behind: ${left.join(", ")}`);
  return outcome;
}

async function inFolder(
  folder: string,
  setup: XenSetup,
  guests: readonly PreparedGuest[],
  into: string,
  settings: SessionSettings,
  note: (line: string) => void,
  diskMegabytes: number,
): Promise<SessionOutcome> {
  const start = Date.now();
  const memory = Math.max(...guests.map(({ memoryMegabytes }) => memoryMegabytes));
  const disk = join(folder, "disk.img");
  await makeDisk(disk, writeStage(guests, join(folder, "stage")), diskMegabytes);
  rmSync(join(folder, "stage"), { recursive: true });
  writeFileSync(join(folder, "dom0.cpio"), dom0Archive(setup));
  const machine = new XenMachine(
    {
      setup: setup.folder,
      disk,
      folder,
      memoryMegabytes: DOM0_MEGABYTES + memory + SPARE_MEGABYTES,
      dom0Megabytes: DOM0_MEGABYTES,
      xenArguments: settings.xenArguments,
    },
    canNest(),
  );
  let trouble: string | undefined;
  try {
    trouble = await watch(machine, guests, settings, into, note);
  } finally {
    await machine.stop();
  }
  const console = machine.console();
  mkdirSync(into, { recursive: true });
  writeFileSync(join(into, "xen-console.txt"), console);
  await readDisk(disk, into);
  const marks = readMarks(console);
  const results = new Map(guests.map(({ name }) => [name, guestResult(marks, name)]));
  return { results, trouble, seconds: Math.round((Date.now() - start) / 1000) };
}

/** What goes onto the disk: a folder a guest, and dom0's job. */
function writeStage(guests: readonly PreparedGuest[], stage: string): string {
  mkdirSync(stage);
  for (const guest of guests) {
    const folder = join(stage, guest.name);
    mkdirSync(folder);
    copyFileSync(guest.vmlinuz, join(folder, "vmlinuz"));
    writeFileSync(join(folder, "initrd.gz"), initramfs(readBusybox(), guest.given, guest.script));
    writeFileSync(join(folder, "guest.cfg"), guestConfig(guest, `/out/${guest.name}`));
  }
  writeFileSync(join(stage, "job.sh"), jobScript(guests));
  return stage;
}

/** Follows the machine to its end; why it did not come to a good one, or undefined. */
async function watch(
  machine: XenMachine,
  guests: readonly PreparedGuest[],
  settings: SessionSettings,
  into: string,
  note: (line: string) => void,
): Promise<string | undefined> {
  const names = guests.map(({ name }) => name);
  const start = Date.now();
  let stage = { name: "start", at: start };
  let heard = { length: 0, at: start };
  const told = new Set<string>();
  for (;;) {
    const alive = machine.alive(); // read before the console: what an ended machine wrote is then all there
    const text = machine.console();
    const state = sessionState(text, names);
    const now = Date.now();
    if (state.stage !== stage.name) {
      stage = { name: state.stage, at: now };
      if (!names.includes(state.stage)) note(`xen: ${state.stage} after ${Math.round((now - start) / 1000)} s`);
    }
    for (const { words } of readMarks(text)) {
      const line = words.join(" ");
      if (!names.includes(words[0]) || words[1] === "tick" || told.has(line)) continue;
      told.add(line);
      note(line);
      if (words[1] === "outcome" && settings.outer) {
        mkdirSync(into, { recursive: true });
        await machine.dump(join(into, `${words[0]}.outer`));
      }
    }
    if (state.fault !== undefined) return `dom0 gave up: ${state.fault}`;
    if (state.stage === "off" && text.includes("Entering ACPI S5 state")) return undefined;
    if (!alive) return state.stage === "off" ? undefined : `QEMU ended in stage ${state.stage}`;
    const marks = readMarks(text).length;
    if (marks !== heard.length) heard = { length: marks, at: now };
    const since = (time: number) => (now - time) / 1000;
    if (since(heard.at) > SILENCE_SECONDS) return `dom0 said nothing for ${SILENCE_SECONDS} s (stage ${state.stage})`;
    if (since(stage.at) > stageLimit(state)) {
      if (state.stage === "off") return undefined;
      return `stage ${state.stage} took longer than ${stageLimit(state)} s`;
    }
    if (settings.limitSeconds !== undefined && since(start) > settings.limitSeconds)
      return `not over after ${settings.limitSeconds} s (stage ${state.stage})`;
    await sleep(500);
  }
}

function stageLimit({ stage }: SessionState): number {
  return LIMITS[stage] ?? CREATE_SECONDS + BOOT_SECONDS + DUMP_SECONDS + 240;
}

/** A text file that a session left for a guest; empty when there is none. */
export function sessionText(into: string, ...parts: string[]): string {
  const path = join(into, ...parts);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
}
