// Copies of whole structures between fixed places, as the kernel installs a set of operations: `pv_cpu_ops =
// xen_cpu_ops` becomes rep movs or a call of memcpy().
import type { KernelOffset } from "../bytes/brand.ts";
import { type CodeEvent, EVENT } from "./events.ts";
import type { LinkImage } from "./link-image.ts";
import type { ValueTracker } from "./values.ts";

export interface ConstantCopy {
  readonly to: KernelOffset;
  /** -1 when it is not a fixed place */
  readonly from: KernelOffset;
  /** bytes */
  readonly length: number;
}

const RCX = 1;
const RDX = 2;
const RSI = 6;
const RDI = 7;
/** No structure of pointers is larger; a longer copy is none of one. */
const LENGTH_MAX = 1 << 14;
const COPIERS = ["memcpy", "__memcpy", "memcpy_orig", "memmove", "__memmove"];

/** The copy that an event is; undefined for all else and for copies whose target or length is not known. */
export function constantCopy(event: CodeEvent, tracker: ValueTracker, image: LinkImage): ConstantCopy | undefined {
  const isCall = event.kind === EVENT.call || event.kind === EVENT.jump;
  if (event.kind !== EVENT.copy && !(isCall && copiers(image).has(event.a))) return undefined;
  const to = tracker.before(event.at, RDI);
  const count = tracker.before(event.at, isCall ? RDX : RCX);
  if (to?.kind !== "address" || count?.kind !== "number") return undefined;
  const length = isCall ? count.value : count.value * event.a;
  if (length > LENGTH_MAX) return undefined;
  const from = tracker.before(event.at, RSI);
  return { to: to.offset, from: from?.kind === "address" ? from.offset : -1, length };
}

function copiers(image: LinkImage): ReadonlySet<KernelOffset> {
  return image.placesOf(COPIERS);
}
