// struct mutex without a description of it: the list of its waiters, which points to itself when there are none, tells
// one, and what stands first in a free one tells its kind.
import { type Discovered, Peek, type ShapeContext, symbolAddress } from "./peek.ts";
import type { ShapeMember } from "./shape-types.ts";

/** Mutexes that every kernel with the feature has as symbols; most of them are free at any moment. */
const MUTEXES = ["module_mutex", "text_mutex", "kprobe_mutex", "jump_label_mutex", "ftrace_lock", "cgroup_mutex"];
const WINDOW = 128;

/** Up to 4.9 {atomic_t count (1 when free); …}, since 4.10 {atomic_long_t owner (0 when free); …}. */
export function discoverMutex({ reader, symbols }: ShapeContext): Discovered | undefined {
  const peek = new Peek(reader);
  let counted = 0;
  let owned = 0;
  const listAt: number[] = [];
  for (const name of MUTEXES) {
    const address = symbolAddress(symbols, name);
    const view = address === undefined ? undefined : peek.view(address, WINDOW);
    if (address === undefined || view === undefined) continue;
    for (let at = 8; at + 16 <= WINDOW; at += 8) {
      const own = address + BigInt(at);
      if (view.getBigUint64(at, true) !== own || view.getBigUint64(at + 8, true) !== own) continue;
      listAt.push(at);
      if (view.getUint32(0, true) === 1) counted++;
      else if (view.getBigUint64(0, true) === 0n) owned++;
      break;
    }
  }
  if (counted === owned || listAt.length === 0) return undefined;
  const list = Math.min(...listAt);
  const first: ShapeMember = counted > owned ? ["count", 0, "int"] : ["owner", 0, "u64"];
  return {
    shapes: [{ name: "struct mutex", members: [first, ["wait_list", list, "struct list_head"]] }],
    evidence: [`mutex: ${first[0]} first, no waiters at +${list}, in ${Math.max(counted, owned)} free ones`],
  };
}
