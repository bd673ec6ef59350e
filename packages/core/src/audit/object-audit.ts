// The account of one object: every byte of its executable sections gets one verdict.
import { fromKernelOffset } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Finding } from "../results/types.ts";
import { MECHANISMS } from "../sites/base/mechanisms.ts";
import type { PatchRegion } from "../sites/base/patch-space.ts";
import type { SiteList } from "../sites/base/site.ts";
import type { ReplayedObject } from "../sites/replay.ts";
import { classifyRuns } from "./classify.ts";
import { compareRegion, type MismatchRun, type RegionCounts } from "./compare.ts";

export interface Verdicts {
  built: number;
  patched: number;
  equivalent: number;
  inFlight: number;
  stale: number;
  foreign: number;
  absent: number;
}

export interface MechanismAccount {
  /** entries of the tables */
  sites: number;
  /** bytes that differ from the built ones and equal the intended ones */
  bytes: number;
  /** sites that hold another legal form */
  stale: number;
}

export interface ObjectAudit {
  readonly name: string;
  readonly path: string;
  /** True when there was no image: only sites that the dump itself tells were checked. */
  readonly partial: boolean;
  /** bytes accounted for; the sum of the verdicts */
  readonly bytes: number;
  readonly verdicts: Verdicts;
  readonly mechanisms: ReadonlyMap<string, MechanismAccount>;
  /** Executable sections that were freed after boot or loading. */
  readonly freed: readonly { readonly name: string; readonly size: number }[];
  readonly findings: readonly Finding[];
  /** Runs of foreign bytes that got no finding of their own since there were too many. */
  readonly untold: number;
  readonly replayed: ReplayedObject;
  /** Found bytes and absent runs of each audited region. */
  readonly found: ReadonlyMap<PatchRegion, FoundBytes>;
}

export interface FoundBytes {
  readonly bytes: Uint8Array;
  readonly absent: readonly { readonly offset: number; readonly length: number }[];
}

/** Reads a region's bytes out of the dump. */
export function readFound(kernel: Kernel, region: PatchRegion): FoundBytes {
  const bytes = new Uint8Array(region.built.length);
  const absent: { offset: number; length: number }[] = [];
  kernel.memory.readPresent(fromKernelOffset(region.start), bytes, (offset, length) => absent.push({ offset, length }));
  return { bytes, absent };
}

/** Compares the layers of one object. */
export function auditObject(kernel: Kernel, replayed: ReplayedObject): ObjectAudit {
  const counts: RegionCounts = {
    bytes: 0,
    built: 0,
    patched: 0,
    absent: 0,
    byMechanism: new Float64Array(MECHANISMS.length),
  };
  const found = new Map<PatchRegion, FoundBytes>();
  const runs: MismatchRun[] = [];
  for (const region of replayed.space.regions) {
    if (!region.audited) continue;
    const held = readFound(kernel, region);
    found.set(region, held);
    const partial = replayed.object.partial === true;
    for (const run of compareRegion(region, held.bytes, held.absent, counts, partial)) runs.push(run);
  }
  const classified = classifyRuns(kernel, replayed, runs, (region) => found.get(region)?.bytes ?? new Uint8Array());
  const mechanisms = new Map<string, MechanismAccount>();
  for (const list of replayed.sites) addSites(mechanisms, list);
  for (let i = 1; i < MECHANISMS.length; i++) {
    if (counts.byMechanism[i] > 0) entry(mechanisms, MECHANISMS[i]).bytes += counts.byMechanism[i];
  }
  for (const [name, stale] of classified.staleSites) entry(mechanisms, name).stale += stale;
  return {
    name: replayed.object.name,
    path: replayed.object.path,
    partial: replayed.object.partial === true,
    bytes: counts.bytes,
    verdicts: {
      built: counts.built,
      patched: counts.patched,
      equivalent: classified.equivalent,
      inFlight: classified.inFlight,
      stale: classified.stale,
      foreign: classified.foreign,
      absent: counts.absent,
    },
    mechanisms,
    freed: replayed.object.freed,
    findings: classified.findings,
    untold: classified.untold,
    replayed,
    found,
  };
}

function entry(mechanisms: Map<string, MechanismAccount>, name: string): MechanismAccount {
  let account = mechanisms.get(name);
  if (account === undefined) {
    account = { sites: 0, bytes: 0, stale: 0 };
    mechanisms.set(name, account);
  }
  return account;
}

function addSites(mechanisms: Map<string, MechanismAccount>, list: SiteList): void {
  entry(mechanisms, list.mechanism).sites += list.entries;
}
