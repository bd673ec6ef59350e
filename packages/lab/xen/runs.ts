// Runs of guests on real Xen, kept in the cache: one folder a run with core, console, xl's words, vCPU states, diagnosis and
// summary. What emulation took away is tried again, and each try is counted.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run } from "../command.ts";
import { LabError } from "../errors.ts";
import { withLock } from "../lock.ts";
import { cacheFolder, fillFolder, shortDigest } from "../paths.ts";
import { type Diagnosed, diagnoseRun } from "./diagnose-run.ts";
import { type GuestKernel, prepareGuest } from "./prepare.ts";
import { runSession, type SessionSettings, sessionText } from "./session.ts";
import { setupXen, type XenSetup } from "./setup.ts";
import type { GuestResult, PreparedGuest, XenFacts, XenGuest } from "./types.ts";
import { vcpuStates } from "./vcpus.ts";

export const TRIES = 4;

/** A run of the cache. */
export interface XenRun {
  readonly folder: string;
  readonly facts: XenFacts;
  readonly diagnosed: Diagnosed;
}

/** A guest of a batch with its kernel. */
export interface Wanted {
  readonly kernel: GuestKernel;
  readonly guest: XenGuest;
}

export interface BatchSettings extends SessionSettings {
  /** Make the runs anew, though the cache has them. */
  readonly fresh: boolean;
  readonly tries: number;
}

/** One guest's end: a run with a core, or the reason why every try was lost to emulation. */
export type BatchResult =
  | { readonly kind: "run"; readonly run: XenRun }
  | { readonly kind: "lost"; readonly tries: XenFacts["tries"] };

/** The folder of a run in the cache. */
function runFolder(prepared: PreparedGuest, settings: SessionSettings): string {
  const { type, vcpus, memoryMegabytes, append, config, late, release, script } = prepared;
  const words = [type, `${vcpus}cpu`, append, ...(late ? [`late-${late.to}`, late.repair] : [])].join("-");
  const readable = words.replace(/[^A-Za-z0-9.]+/g, "-").replace(/-+$/, "");
  const recipe = JSON.stringify([
    memoryMegabytes,
    append,
    config,
    settings.xenArguments,
    script,
    statSync(prepared.vmlinuz).size,
  ]);
  return join(cacheFolder("xen", "runs"), release, `${readable}-${shortDigest(recipe)}`);
}

/** All runs in the cache. */
export function cachedRuns(): XenRun[] {
  const root = cacheFolder("xen", "runs");
  return readdirSync(root)
    .flatMap((release) => readdirSync(join(root, release)).map((name) => join(root, release, name)))
    .filter((folder) => existsSync(join(folder, "xen.json")))
    .map(readRun);
}

function readRun(folder: string): XenRun {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));
  return { folder, facts: read("xen.json") as XenFacts, diagnosed: read("diagnosed.json") as Diagnosed };
}

/**
 * Runs guests, as many as there are in one boot of Xen, one after the other. A guest that ends with `emulation` is tried again
 * in another boot. `done` hears of each as soon as it is over.
 */
export async function runGuests(
  wanted: readonly Wanted[],
  settings: BatchSettings,
  note: (line: string) => void,
  done: (index: number, result: BatchResult) => void,
): Promise<void> {
  const setup = await setupXen(note);
  const open: Open[] = [];
  for (const [index, { kernel, guest }] of wanted.entries()) {
    const prepared = await prepareGuest(kernel, { ...guest, name: `g${index}` }, note);
    const folder = runFolder(prepared, settings);
    const present = existsSync(join(folder, "xen.json")) && !settings.fresh;
    if (present) done(index, { kind: "run", run: readRun(folder) });
    else open.push({ index, kernel, guest, prepared, folder, tries: [] });
  }
  while (open.length > 0) {
    const work = mkdtempSync(join(cacheFolder("xen"), "out-"));
    try {
      const guests = open.map(({ prepared }) => prepared);
      const { results, trouble, seconds } = await oneMachine(() => runSession(setup, guests, work, settings, note));
      note(`session over after ${seconds} s${trouble ? `: ${trouble}` : ""}`);
      for (const each of [...open]) {
        const result = results.get(each.prepared.name);
        if (!result || (result.reason === "never began" && progressed(results))) continue;
        const ended = await endOf(setup, each, result, trouble, work, settings);
        if (ended === undefined)
          note(`${each.guest.name}: ${each.tries.at(-1)?.reason} (try ${each.tries.length} of ${settings.tries})`);
        if (ended === undefined && each.tries.length < settings.tries) continue;
        done(each.index, ended ? { kind: "run", run: ended } : { kind: "lost", tries: each.tries });
        open.splice(open.indexOf(each), 1);
      }
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
}

/** One emulated Xen at a time: each wants a whole core. */
function oneMachine<T>(work: () => Promise<T>): Promise<T> {
  return withLock(join(cacheFolder("locks"), "xen-machine"), work, 4 * 3600);
}

/** Keeps and diagnoses what a guest came to; undefined when that was emulation's doing. Either way it is one try more. */
async function endOf(
  setup: XenSetup,
  each: Open,
  result: GuestResult,
  trouble: string | undefined,
  work: string,
  settings: SessionSettings,
): Promise<XenRun | undefined> {
  const { outcome, reason } = result;
  if (outcome === "emulation") {
    each.tries.push({ outcome, reason: trouble ? `${reason}; ${trouble}` : reason });
    keepTrouble(work, each);
    return undefined;
  }
  each.tries.push({ outcome, reason });
  const run = await keep(setup, each, result, work, settings);
  const lost = lostToEmulation(run.facts, run.diagnosed);
  if (lost === undefined) return run;
  each.tries.splice(-1, 1, { outcome: "emulation", reason: lost });
  rmSync(`${each.folder}.lost`, { recursive: true, force: true });
  renameSync(each.folder, `${each.folder}.lost`);
  return undefined;
}

/**
 * A guest that nothing was done to, still, and whose core tells nothing that could hold it up, lost an interrupt or its share of
 * the processor. Undefined for every other: where the slots were switched, a core that tells nothing is the product's fault.
 */
export function lostToEmulation(facts: Pick<XenFacts, "result" | "late">, diagnosed: Diagnosed): string | undefined {
  if (facts.result.outcome !== "hung" || facts.late) return undefined;
  if (diagnosed.trouble === undefined && diagnosed.findings.length > 0) return undefined;
  const seen = diagnosed.trouble === undefined ? "its core tells no reason" : "no kernel in its memory yet";
  return `hung, ${facts.result.reason}; ${seen}`;
}

interface Open extends Wanted {
  readonly index: number;
  readonly prepared: PreparedGuest;
  readonly folder: string;
  readonly tries: XenFacts["tries"][number][];
}

/** True when some guest came to an end: the others, whose turn did not come, then lose no try. */
function progressed(results: ReadonlyMap<string, GuestResult>): boolean {
  return [...results.values()].some(({ reason }) => reason !== "never began");
}

/** What a lost try left, for whoever wants to know why: only the last one's. */
function keepTrouble(work: string, { folder, prepared }: Open): void {
  const target = `${folder}.lost`;
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  const own = join(work, prepared.name);
  for (const name of existsSync(own) ? readdirSync(own) : [])
    if (/\.(txt|log|json|cfg)$/.test(name)) copyFileSync(join(own, name), join(target, name));
  if (existsSync(join(work, "xen-console.txt")))
    copyFileSync(join(work, "xen-console.txt"), join(target, "xen-console.txt"));
}

/** Moves a run into the cache and diagnoses it. */
async function keep(
  setup: XenSetup,
  { kernel, guest, prepared, folder, tries }: Open,
  result: GuestResult,
  work: string,
  settings: SessionSettings,
): Promise<XenRun> {
  const own = join(work, prepared.name);
  await fillFolder(folder, async (temporary) => {
    for (const name of readdirSync(own).filter((file) => file !== "initrd.gz"))
      renameSync(join(own, name), join(temporary, name));
    const outer = join(work, `${prepared.name}.outer`);
    if (existsSync(outer)) renameSync(outer, join(temporary, "machine.kdump"));
    copyFileSync(join(work, "xen-console.txt"), join(temporary, "xen-console.txt"));
    writeFileSync(join(temporary, "xl-info.txt"), sessionText(work, "xl-info.txt"));
    mkdirSync(join(temporary, "modules"));
    for (const { name, bytes } of prepared.given) writeFileSync(join(temporary, "modules", `${name}.ko`), bytes);
    const core = join(temporary, "core");
    if (!existsSync(core))
      throw new LabError(`${prepared.name}: the disk holds no core, though xl said that it wrote one`);
    const facts: XenFacts = {
      ...guest,
      flavour: kernel.flavour,
      release: kernel.release,
      xenVersion: setup.version,
      dom0Release: setup.dom0Release,
      qemuVersion: await qemuVersion(),
      xenArguments: settings.xenArguments,
      date: new Date().toISOString().slice(0, 10),
      result,
      tries,
      vcpuStates: vcpuStates(sessionText(temporary, "xenctx.txt"), sessionText(temporary, "vcpus.txt")),
      coreBytes: statSync(core).size,
    };
    writeFileSync(join(temporary, "xen.json"), `${JSON.stringify(facts, null, 1)}\n`);
    await diagnoseRun(temporary, facts);
  });
  return readRun(folder);
}

async function qemuVersion(): Promise<string> {
  const { stdout } = await run("qemu-system-x86_64", ["--version"], { timeoutSeconds: 30 });
  return /version (\S+)/.exec(stdout.toString())?.[1] ?? "unknown";
}
