// What Palimpsest foretells of a row before it runs: for a late switch, the lock and unlock that will meet, proved on the
// instructions of the same kernel's healthy core; for a healthy row, whether its image writes slots too late.
import { join } from "node:path";
import { palimpsest } from "../measure.ts";
import { type Mixture, outcomeOf, type XenRow } from "./matrix.ts";
import type { GuestKernel } from "./prepare.ts";
import type { XenRun } from "./runs.ts";
import type { Outcome } from "./types.ts";

export interface Prediction {
  /** Undefined when nothing can be foretold: `by` says why. */
  readonly outcome: Outcome | undefined;
  /** How it was found: "prove: hang (Xen's lock, native unlock)". */
  readonly by: string;
}

const LOCK = "_raw_spin_lock_irqsave";
const UNLOCK = "_raw_spin_unlock_irqrestore";
const NATIVE_UNLOCK = "queued_spin_unlock=__raw_callee_save___native_queued_spin_unlock";
const NATIVE_LOCK = "queued_spin_lock_slowpath=native_queued_spin_lock_slowpath";
/** What native boots leave in the slot; nop_func since 6.7. */
const NO_WAIT = "pv_ops.lock.wait=_paravirt_nop";
const NO_WAIT_SINCE_6_7 = "pv_ops.lock.wait=nop_func";

/** Slots that a healthy core with Xen's spinlocks is assumed to have otherwise, so that its sites are the row's mixture. */
const ASSUMED: Readonly<Record<Mixture, readonly string[]>> = {
  "as booted": [],
  "Xen's lock, Xen's unlock": [],
  "Xen's lock, native unlock": [NATIVE_UNLOCK],
  "Xen's lock without its wait, native unlock": [NATIVE_UNLOCK, NO_WAIT],
  "native lock, native unlock": [NATIVE_UNLOCK, NATIVE_LOCK],
};

/** @param healthy the core that the proof starts from; undefined when that row did not come to one */
export async function predict(row: XenRow, kernel: GuestKernel, healthy: XenRun | undefined): Promise<Prediction> {
  if (row.from === undefined) return fromImage(kernel.vmlinuz);
  if (!healthy) return { outcome: undefined, by: `no core of ${row.from} to prove it on` };
  const beside = ["--image", join(healthy.folder, "vmlinuz"), "--modules", join(healthy.folder, "modules")];
  const bounds = ["--cpus", "2", "--rounds", "1", "--json"];
  const prove = (slots: readonly string[]) => {
    const assumed = slots.flatMap((slot) => ["--assume", slot]);
    return palimpsest(["prove", join(healthy.folder, "core"), LOCK, UNLOCK, ...beside, ...assumed, ...bounds], 400);
  };
  const slots = ASSUMED[row.mixture];
  let { stdout, stderr, exitCode } = await prove(slots);
  if (readVerdict(stdout) === undefined && slots.includes(NO_WAIT))
    ({ stdout, stderr, exitCode } = await prove(slots.map((slot) => (slot === NO_WAIT ? NO_WAIT_SINCE_6_7 : slot))));
  const verdict = readVerdict(stdout);
  if (verdict === undefined)
    return { outcome: undefined, by: `prove: exit status ${exitCode}: ${stderr.trim().split("\n").at(-1)}` };
  return { outcome: outcomeOf(verdict), by: `prove: ${verdict} (${row.mixture})` };
}

async function fromImage(vmlinuz: string): Promise<Prediction> {
  const { exitCode, stderr } = await palimpsest(["boot-order", vmlinuz, "--json"], 300);
  if (exitCode === 0) return { outcome: "booted", by: "boot-order: no slot is written too late" };
  if (exitCode === 1) return { outcome: "hung", by: "boot-order: slots are written too late" };
  return { outcome: undefined, by: `boot-order: exit status ${exitCode}: ${stderr.trim().split("\n").at(-1)}` };
}

/** The verdict of `prove --json`, or undefined when that is none. */
export function readVerdict(json: string): string | undefined {
  try {
    const value: unknown = JSON.parse(json);
    const verdict = typeof value === "object" && value !== null && "verdict" in value ? value.verdict : undefined;
    return typeof verdict === "string" ? verdict : undefined;
  } catch {
    return undefined;
  }
}
