// How a wait is known, in words.
import { formatAddress } from "../../bytes/brand.ts";
import { placeText } from "../../symbols/place.ts";
import { taskName } from "../../tasks/tasks.ts";
import type { Wait } from "./wait.ts";

const FITS = { ticket: "its word has a ticket that a register holds", pending: "its pending bit is set" };

/** "rdi", "the call in foo+0x12", "rbx, MCS node 0 of CPU 1 at 0x… is in its queue", "a guess: rbx, its pending bit is set" */
export function evidenceText(wait: Wait): string {
  const { evidence } = wait;
  switch (evidence.by) {
    case "register":
      return evidence.register;
    case "frame":
      return `the call in ${placeText(evidence.caller)}`;
    case "queue": {
      const { cpu, index, address } = evidence.node;
      return `${evidence.from}, MCS node ${index} of CPU ${cpu} at ${formatAddress(address)} is in its queue`;
    }
    case "list":
      return `a ${evidence.waiterType} on the stack of ${taskOf(wait)} is on its list`;
    case "blocker":
      return `${taskOf(wait)} is blocked on it (${evidence.member})`;
    case "guess":
      return `a guess: ${evidence.from} holds its address, and ${FITS[evidence.fits]}`;
    case "nothing":
      return "nothing tells the lock";
  }
}

const taskOf = ({ task }: Wait): string => (task === undefined ? "a task" : taskName(task));
