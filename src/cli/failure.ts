// Errors of the library become what a user can act on: the fact, then advice and the next command to try. Told apart by
// class and data, never by text.
import { AddressError, FormatError, PalimpsestError, TruncatedError, UnsupportedError } from "../bytes/errors.ts";
import { note, print } from "./terminal.ts";

/** A wrong use of the command line, or a refusal that the library does not know of. */
export class UsageError extends PalimpsestError {
  readonly kind = "unsupported";
  constructor(
    message: string,
    readonly advice?: string,
  ) {
    super(message);
  }
}

interface Failure {
  readonly kind: string;
  readonly message: string;
  readonly advice?: string;
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === "string";
}

function adviceFor(error: unknown): string | undefined {
  if (error instanceof UsageError) return error.advice;
  if (error instanceof TruncatedError)
    return "The file ends too early: compare its size with the original, copy it again.";
  if (error instanceof UnsupportedError) return "palimpsest --help lists what is supported.";
  if (error instanceof FormatError) return "Is this the right file? `file` and `readelf -h` tell what it is.";
  if (error instanceof AddressError)
    return "The page may have been left out of the dump (makedumpfile -d), or the address is wrong.";
  return undefined;
}

function describe(error: unknown): Failure {
  if (error instanceof PalimpsestError) {
    return { kind: error.kind, message: error.message, advice: adviceFor(error) };
  }
  if (isSystemError(error)) {
    const path = error.path ?? "";
    switch (error.code) {
      case "ENOENT":
        return { kind: "missing", message: `${path}: no such file`, advice: "Check the path." };
      case "EACCES":
      case "EPERM":
        return {
          kind: "missing",
          message: `${path}: permission denied`,
          advice: "Dumps are often readable by root only: try sudo.",
        };
      case "EISDIR":
        return { kind: "format", message: `${path || "this"} is a folder, not a dump` };
      case "EPIPE":
        return { kind: "system", message: "" };
      default:
        return { kind: "system", message: error.message };
    }
  }
  throw error;
}

/** Tells the error on stderr, or as JSON on stdout, and sets exit status 2. Bugs are thrown on. */
export function fail(error: unknown, json: boolean): void {
  const failure = describe(error);
  process.exitCode = 2;
  if (failure.message === "") return;
  if (json) {
    const { kind, message, advice } = failure;
    print(
      `${JSON.stringify({ schema: "palimpsest/error/1", error: { kind, message, advice: advice ?? null } }, null, 2)}\n`,
    );
    return;
  }
  note(`palimpsest: ${failure.message}`);
  if (failure.advice !== undefined) note(`  ${failure.advice}`);
}
