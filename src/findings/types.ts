// Everything Palimpsest can find, one type with stable ids. Plain data: the same object is rendered as text and
// printed as JSON. Addresses are hex strings here ("0x" and 16 digits).

export type Severity = "error" | "warning" | "note";

export interface FindingBase {
  readonly severity: Severity;
  /** "0x…" */
  readonly address: string;
  /** bytes covered */
  readonly length: number;
  /** "vmlinux" or the module's name */
  readonly object: string;
  /** "name+0x10" */
  readonly symbol: string;
  /** one line that says what is wrong */
  readonly title: string;
  /** what it means and what to look at, one sentence each */
  readonly notes: readonly string[];
}

/** The three layers of a place as hex text ("e8 74 c3 5d e1"). */
export interface Layers {
  readonly built: string;
  readonly intended: string;
  readonly found: string;
}

export interface SlotFact {
  readonly name: string;
  readonly value: string;
  /** "0x…" when the slot is a place in memory */
  readonly address?: string;
}

/** Bytes that nothing explains. `address` and `length` are exactly the differing bytes. */
export interface TextForeign extends FindingBase {
  readonly id: "text.foreign";
  readonly layers: Layers;
  /** The mechanism whose site the place belongs to, when it does. */
  readonly mechanism?: string;
  /** The site around it. */
  readonly site?: { readonly address: string; readonly length: number; readonly layers: Layers };
  readonly slot?: SlotFact;
}

/** A site that holds a legal form of its mechanism, but not the one that its slot calls for now. */
export interface SiteStale extends FindingBase {
  readonly id: "site.stale";
  readonly mechanism: string;
  readonly layers: Layers;
  /** The form that it holds: "NOP (jump label flipped)", "call to native_write_cr4". */
  readonly form: string;
  /** Why the intended bytes are what they are. */
  readonly reason: string;
  readonly slot?: SlotFact;
  /** The bytes that differ. */
  readonly differs: readonly { readonly address: string; readonly length: number }[];
}

/** Something that this kernel has and Palimpsest does not know; what it covers is left out of the account. */
export interface Unknown extends FindingBase {
  readonly id: "unknown.table" | "unknown.mechanism" | "unknown.state";
  readonly mechanism: string;
}

export type Finding = TextForeign | SiteStale | Unknown;
export type FindingId = Finding["id"];
