// What `explain` prints with --json.

export interface ExplainResult {
  readonly schema: "palimpsest/explain/1";
  /** finding id → its explanation; all of them, or the one that was asked for */
  readonly findings: Readonly<
    Record<
      string,
      {
        /** one line */
        readonly title: string;
        readonly means: string;
        readonly decided: string;
        /** what to do */
        readonly next: string;
      }
    >
  >;
  /** words that reports use, with their meaning */
  readonly words: Readonly<Record<string, string>>;
}
