// What a state of a guest is: shared by the table of states and the gallery.

export interface GuestState {
  readonly about: string;
  /** Shell code; `check NAME WORDS` reports, `probe NAME KIND PLACE…` sets a probe, $T is tracefs, $K the probe list. */
  readonly script: string;
  /** What the words of its `check` must match. */
  readonly took: RegExp;
  /** Modules of the lab's own (packages/lab/modules) that it loads itself from /mod. */
  readonly own?: readonly string[];
  /** What makes the guest panic, once it has reported: its crash kernel writes the dump. */
  readonly panic?: string;
  /** Run when everything was reported: what the guest does not survive. */
  readonly after?: string;
  /** The line of the console at which the memory is taken; the guest may be dying then. */
  readonly until?: RegExp;
  /** The line at which the guest gets an NMI. */
  readonly nmi?: RegExp;
}
