// Errors of the library become what a user can act on: the fact, then advice and the next command to try. Told apart by
// class and data, never by text. What is no known error is a bug of palimpsest, and is called one.
import { AddressError, FormatError, PalimpsestError, TruncatedError, UnsupportedError } from "../bytes/errors.ts";
import type { ErrorResult } from "../findings/results.ts";
import { note, print } from "./terminal.ts";
import { VERSION } from "./version.ts";

/** A wrong use of the command line, or a refusal that the library does not know of. */
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

type Failure = ErrorResult["error"];

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string";
}

function adviceFor(error: PalimpsestError): string | null {
  if (error instanceof UsageError) return error.advice ?? null;
  if (error instanceof TruncatedError)
    return "The file ends too early: compare its size with the original, copy it again.";
  if (error instanceof UnsupportedError) return "palimpsest --help lists what is supported.";
  if (error instanceof FormatError) return "Is this the right file? `file` and `readelf -h` tell what it is.";
  if (error instanceof AddressError)
    return "The page may have been left out of the dump (makedumpfile -d), or the address is wrong.";
  return null;
}

function placeOf(error: PalimpsestError): string | null {
  if (error instanceof FormatError || error instanceof TruncatedError || error instanceof UnsupportedError)
    return error.where;
  if (error instanceof AddressError) return `0x${error.address.toString(16).padStart(16, "0")}`;
  return null;
}

function systemFailure(error: NodeJS.ErrnoException): Failure {
  const path = error.path ?? "";
  const where = path === "" ? null : path;
  switch (error.code) {
    case "ENOENT":
    case "ENOTDIR":
      return { kind: "missing", message: `${path || '""'}: no such file`, where, advice: "Check the path." };
    case "EACCES":
    case "EPERM":
      return {
        kind: "missing",
        message: `${path}: permission denied`,
        where,
        advice: "Dumps are often readable by root only: try sudo.",
      };
    case "ENOSPC":
      return { kind: "system", message: "no space is left for the result", where, advice: null };
    default:
      return {
        kind: "system",
        message: where === null ? error.message : `${path}: ${error.message}`,
        where,
        advice: null,
      };
  }
}

function describe(error: unknown): Failure {
  if (error instanceof PalimpsestError) {
    const kind = error instanceof UsageError ? error.category : error.kind;
    const told = error instanceof OpenError ? error.cause : error;
    return { kind, message: error.message, where: placeOf(told), advice: adviceFor(told) };
  }
  if (isSystemError(error)) return systemFailure(error);
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    kind: "internal",
    message: `this is a bug in palimpsest ${VERSION}: ${what.split("\n")[0]}`,
    where: null,
    advice: "Please report it with the command; PALIMPSEST_DEBUG=1 shows where it happened.",
  };
}

/** Tells the error on stderr, or as JSON on stdout, and sets exit status 2. Never throws. */
export function fail(error: unknown, json: boolean): void {
  process.exitCode = 2;
  const failure = describe(error);
  if ((process.env.PALIMPSEST_DEBUG ?? "") !== "" && error instanceof Error) note(error.stack ?? error.message);
  const notes = error instanceof OpenError ? error.problems : [];
  if (json) {
    const result: ErrorResult = { schema: "palimpsest/error/1", error: failure, notes };
    print(`${JSON.stringify(result, null, 2)}\n`);
    return;
  }
  note(`palimpsest: ${failure.message}`);
  for (const line of notes) note(`  ${line}`);
  if (failure.advice !== null) note(`  ${failure.advice}`);
}
