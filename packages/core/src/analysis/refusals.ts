// Refusals of a question, not of a file: it is worded wrongly, or names what does not belong to the dump.
import { PalimpsestError } from "../bytes/errors.ts";

/** A question that cannot be answered as it was asked. */
export class UsageError extends PalimpsestError {
  readonly kind = "unsupported";
  constructor(
    message: string,
    readonly advice?: string,
    /** What the JSON calls it: "mismatch" is an image of another build. */
    readonly category: "usage" | "mismatch" | "missing" = "usage",
  ) {
    super(message);
  }
}

/** An error while a dump was opened, with what is known to be wrong with the file. */
export class OpenError extends PalimpsestError {
  readonly kind: PalimpsestError["kind"];
  constructor(
    path: string,
    override readonly cause: PalimpsestError,
    readonly problems: readonly string[],
  ) {
    // What is missing in a dump is worded without the dump's name.
    super(cause.message.includes(path) ? cause.message : `${path}: ${cause.message}`);
    this.kind = cause.kind;
  }
}
