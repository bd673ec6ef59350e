// Errors of the library become what a user can act on: the fact, then advice and the next command to try. Told apart by
// class and data, never by text. What is no known error is a bug of palimpsest, and is called one.

import { OpenError, UsageError } from "../../core/src/analysis/refusals.ts";
import { VERSION } from "../../core/src/analysis/version.ts";
import {
  AddressError,
  FormatError,
  PalimpsestError,
  TruncatedError,
  UnsupportedError,
} from "../../core/src/bytes/errors.ts";
import { jsonText, visibleLine } from "../../core/src/report/visible.ts";
import type { ErrorResult } from "../../core/src/results/results.ts";
import { note, print } from "./terminal.ts";

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
    print(`${jsonText(result)}\n`);
    return;
  }
  note(`palimpsest: ${visibleLine(failure.message)}`);
  for (const line of notes) note(`  ${visibleLine(line)}`);
  if (failure.advice !== null) note(`  ${visibleLine(failure.advice)}`);
}
