// What a mechanism tells about its sites. Lists are struct-of-arrays, since a kernel has 400,000 of them; words for
// people (slot, state, legal forms) are made for one site at a time, on demand.
import type { KernelOffset } from "../../bytes/brand.ts";
import type { MechanismName } from "./mechanisms.ts";

/** The state from which the intended bytes follow. */
export interface SlotState {
  /** "pv_ops.lock.queued_spin_unlock", "static key tracing_on", "static call sched_tick", "X86_FEATURE word 3 bit 16" */
  readonly name: string;
  /** its value in words: "native_queued_spin_unlock", "enabled (1)", "NULL" */
  readonly value: string;
  /** address of the slot, when it is a place in memory */
  readonly address?: bigint;
}

/** One of the byte sequences that the mechanism may legally leave at a site. */
export interface LegalForm {
  /** "NOP", "JMP to foo+0x20", "as built", "CALL native_write_cr4" */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface SiteDetails {
  readonly slot?: SlotState;
  /** What the intended bytes are and why, in one line. */
  readonly reason: string;
  /** The other forms this site may hold at other times; the intended one need not be among them. */
  readonly forms: readonly LegalForm[];
  /** True when a near CALL or JMP from here to any function's start is a form of this mechanism. */
  readonly callsFunctions?: boolean;
}

export interface SiteList {
  readonly mechanism: MechanismName;
  /** The object's name. */
  readonly object: string;
  /** Entries of the table, sites outside audited text included. */
  readonly entries: number;
  /** Where the table was: "section .altinstructions (14-byte entries)". */
  readonly table: string;
  /** Start of each site, in table order. */
  readonly offsets: Uint32Array;
  /** Bytes of each site. */
  readonly lengths: Uint16Array;
  /** Words about the i-th site. */
  describe(index: number): SiteDetails;
  /** Set while the kernel itself says that it is changing sites of this list. */
  readonly pending?: Pending;
}

/** A change that was under way at the moment of the dump, by the kernel's own state. */
export interface Pending {
  /** "kprobe_mutex is held" */
  readonly evidence: string;
  /**
   * What the i-th site may hold until the change reaches it; when absent, the legal forms that `describe` tells.
   * @param poked text_poke's own list names the site
   */
  forms?(index: number, poked: boolean): readonly Uint8Array[];
  /** Sites with one key are changed together, and only one key at a time. */
  key?(index: number): bigint;
  /** Those of one key are changed in the order of their addresses. */
  readonly ordered?: boolean;
  /** True when the kernel's state names this site's key as the one under change. */
  names?(index: number): boolean;
}

/** Growing pair of arrays for site lists. */
export class SiteArrays {
  private offsetsArray: Uint32Array;
  private lengthsArray: Uint16Array;
  count = 0;

  constructor(capacity: number) {
    this.offsetsArray = new Uint32Array(capacity);
    this.lengthsArray = new Uint16Array(capacity);
  }

  /** Returns the index of the added site. */
  add(offset: KernelOffset, length: number): number {
    if (this.count === this.offsetsArray.length) {
      const capacity = Math.max(64, this.count * 2);
      const offsets = new Uint32Array(capacity);
      offsets.set(this.offsetsArray);
      this.offsetsArray = offsets;
      const lengths = new Uint16Array(capacity);
      lengths.set(this.lengthsArray);
      this.lengthsArray = lengths;
    }
    this.offsetsArray[this.count] = offset;
    this.lengthsArray[this.count] = length;
    return this.count++;
  }

  get offsets(): Uint32Array {
    return this.offsetsArray.subarray(0, this.count);
  }
  get lengths(): Uint16Array {
    return this.lengthsArray.subarray(0, this.count);
  }
}

/** Something about a mechanism that could not be replayed: becomes a finding `unknown.*`. */
export interface UnknownPart {
  /** "unknown.table" | "unknown.mechanism" | "unknown.state" | "unknown.rule" | "unknown.smear" */
  readonly id: string;
  readonly mechanism: string;
  readonly object: string;
  /** start of what is left out */
  readonly address: bigint;
  readonly length: number;
  readonly what: string;
  /** "note" for what shows no effect in this dump; a warning otherwise. */
  readonly severity?: "note";
}
