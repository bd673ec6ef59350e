// The part of `diagnose` that is about standing still: what the dump's state shows, and what the kernel's log says of it.
import { PalimpsestError } from "../bytes/errors.ts";
import { HangCauses } from "../hangs/causes.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { readKernelLog } from "../kernel/log/log.ts";
import { type LogEvent, logEvents } from "../kernel/log/log-events.ts";
import type { LockState } from "../locks/lock-state.ts";
import type { Finding } from "../results/types.ts";

/** Events of the log; none where it cannot be read, which `log` tells. */
export function eventsOf(kernel: Kernel): readonly LogEvent[] {
  try {
    return logEvents(readKernelLog(kernel).records);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return [];
  }
}

/** @param locks findings about locks: a lock whose sides do not belong together is the cause already */
export function hangsOf(
  state: LockState,
  events: readonly LogEvent[],
  locks: readonly Finding[],
): { findings: Finding[]; problems: string[] } {
  try {
    const findings = new HangCauses(state, events).all();
    const mixed = locks.some(({ id }) => id === "lock.mixed");
    // Waiters of a mixed lock wait because of what it is: its own finding says who they are.
    return { findings: mixed ? findings.filter(({ id }) => id.startsWith("crash.")) : findings, problems: [] };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return { findings: [], problems: [`what hangs could not be told: ${error.message}`] };
  }
}
