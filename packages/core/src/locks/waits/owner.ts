// Who has the lock that somebody waits for, where the lock's word proves it: the other end of an edge of every graph of waits.
// A reader's hint or a semaphore's last holder proves nothing.
import { PalimpsestError } from "../../bytes/errors.ts";
import type { LockKind } from "../code/lock-kinds.ts";
import type { LockDecoder } from "../words/lock-forms.ts";
import type { TaskFact } from "../words/types.ts";
import type { Wait } from "./wait.ts";

/** Kinds whose word names a task that has the lock: a mutex that is not being handed over, a writer, an rt_mutex. */
const NAMES_OWNER: readonly LockKind[] = ["mutex", "rwsem", "rt-mutex"];

/** The task that has it; undefined when nothing proves that one has. */
export function provenOwner(decoder: LockDecoder, wait: Wait): TaskFact | undefined {
  const { kind, lock } = wait;
  const form = decoder.formOf(kind);
  if (lock === undefined || !NAMES_OWNER.includes(kind) || form === undefined) return undefined;
  try {
    const word = decoder.decode(lock, form);
    // MUTEX_FLAG_PICKUP: the owner is the waiter that it is handed to, and that wakes up now.
    if (String(word.fields.flags ?? "").includes("pickup") || word.state === "impossible") return undefined;
    return word.owner !== undefined && word.owner.pid >= 0 ? word.owner : undefined;
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}
