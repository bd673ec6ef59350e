// Walks the kernel's linked lists. A dump can be cut, corrupted or hostile: every walk is bounded, cycles are cut,
// and what went wrong is told instead of thrown, so that the part that could be read still counts.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { VirtualMemory } from "../../memory/types.ts";

export interface ListWalk {
  readonly entries: readonly VirtualAddress[];
  /** Why the walk ended before it came back to its head; undefined for a whole list. */
  readonly problem?: string;
}

/**
 * struct list_head: the addresses of the structures that embed it.
 * @param head address of the list's head
 * @param offset of the struct list_head inside the entries
 */
export function walkList(memory: VirtualMemory, head: VirtualAddress, offset: number, limit = 65536): ListWalk {
  const entries: VirtualAddress[] = [];
  const seen = new Set<bigint>();
  try {
    let at = memory.pointer(head);
    while (at !== head) {
      if (at === 0n) return { entries, problem: `a NULL next pointer after ${entries.length} entries` };
      if (seen.has(at)) return { entries, problem: `a cycle after ${entries.length} entries` };
      if (entries.length >= limit) return { entries, problem: `more than ${limit} entries` };
      seen.add(at);
      const next = memory.pointer(at); // read before it counts: a dangling entry is no entry
      entries.push(addressAdd(at, -offset));
      at = next;
    }
    return { entries };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return { entries, problem: `${error.message} after ${entries.length} entries` };
  }
}

/** struct hlist_head or a NULL-terminated chain whose `next` lies at offset 0 of the node. */
export function walkChain(memory: VirtualMemory, first: VirtualAddress, offset: number, limit = 65536): ListWalk {
  const entries: VirtualAddress[] = [];
  const seen = new Set<bigint>();
  try {
    for (let at = first; at !== 0n; ) {
      if (seen.has(at)) return { entries, problem: `a cycle after ${entries.length} entries` };
      if (entries.length >= limit) return { entries, problem: `more than ${limit} entries` };
      seen.add(at);
      const next = memory.pointer(at);
      entries.push(addressAdd(at, -offset));
      at = next;
    }
    return { entries };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return { entries, problem: `${error.message} after ${entries.length} entries` };
  }
}
