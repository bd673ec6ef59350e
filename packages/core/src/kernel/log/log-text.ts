// The bytes of messages: read as far as the dump has them, with a mark where it has not.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { VirtualMemory } from "../../memory/types.ts";

const GAP = "…";
/** Bytes that are read at a time: a length that is claimed and not there costs no memory. */
const CHUNK = 1 << 16;

/** Of text that all records may have together, and of records: a log of 16 MiB has half a million. */
export const MAX_TEXT = 256 << 20;
export const MAX_RECORDS = 1 << 20;

export interface ReadText {
  readonly text: string;
  /** bytes that the dump does not have; each run is one "…" in the text */
  readonly absent: number;
}

/** `length` bytes at `address` as UTF-8, what is not UTF-8 as U+FFFD. */
export function readLogText(memory: VirtualMemory, address: VirtualAddress, length: number): ReadText {
  const parts: string[] = [];
  let decoder = new TextDecoder();
  let absent = 0;
  for (let done = 0; done < length; done += CHUNK) {
    const bytes = new Uint8Array(Math.min(CHUNK, length - done));
    let at = 0;
    memory.readPresent(addressAdd(address, done), bytes, (offset, run) => {
      parts.push(decoder.decode(bytes.subarray(at, offset)));
      decoder = new TextDecoder();
      if (parts.at(-1) === "") parts.pop();
      if (parts.at(-1) !== GAP) parts.push(GAP);
      at = offset + run;
      absent += run;
    });
    if (at < bytes.length) parts.push(decoder.decode(bytes.subarray(at), { stream: true }));
  }
  return { text: parts.join("") + decoder.decode(), absent };
}

/** Counts what could not be read, by what is wrong with it, so that a thousand of a kind are one line. */
export class Losses {
  private readonly counts = new Map<string, number>();
  private readonly others: string[] = [];

  /** @param what "records whose …" */
  add(what: string, count = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + count);
  }

  tell(problem: string): void {
    this.others.push(problem);
  }

  get lines(): string[] {
    return [...this.others, ...Array.from(this.counts, ([what, count]) => `the log: ${what}: ${count}`)];
  }

  get any(): boolean {
    return this.counts.size > 0 || this.others.length > 0;
  }
}
