// Everything Palimpsest can find, one type with stable ids. Plain data: the same object is rendered as text
// and printed as JSON. Addresses are hex strings here.

export type Severity = "error" | "warning" | "note";

export interface FindingBase {
  readonly id: string;
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
  /** what it means, what to look at; one sentence a line */
  readonly notes?: readonly string[];
}

/** The three layers of a site as hex text ("e8 74 c3 5d e1"). */
export interface Layers {
  readonly built: string;
  readonly intended: string;
  readonly found: string;
}
