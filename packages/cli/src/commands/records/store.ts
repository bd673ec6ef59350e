// What the commands on bug records share: the store, who acts, and the records' errors as the command line's.
// The records' code and its packages are loaded by the first such command, not by `palimpsest diagnose`.
import { userInfo } from "node:os";
import { type Command, Option } from "commander";
import { UsageError } from "../../../../core/src/analysis/refusals.ts";
import type { Actor, Store } from "../../../../records/src/index.ts";
import { fail } from "../../failure.ts";

export type Records = typeof import("../../../../records/src/index.ts");

export interface StoreOptions {
  readonly store?: string;
  readonly database?: string;
  readonly attachments?: string;
  readonly as?: string;
  readonly json?: boolean;
}

export interface StoreContext {
  readonly records: Records;
  readonly store: Store;
  /** Who has the store in hand may do everything; what is done is said to be done by this person. */
  readonly actor: Actor;
}

export function storeCommand(parent: Command, usage: string, description: string): Command {
  return parent
    .command(usage)
    .description(description)
    .option("--store <store>", "a folder, or postgres://… (default: $PALIMPSEST_STORE)")
    .addOption(new Option("--database <url>", "the same, for postgres://…"))
    .option("--attachments <dir>", "where attachments lie (default: in the store's folder)")
    .option("--json", "print the result as JSON");
}

/** Adds the person that a change is made by. */
export function actingCommand(parent: Command, usage: string, description: string): Command {
  return storeCommand(parent, usage, description).option("--as <name>", "who does it (default: your user name)");
}

function storeOf({ store, database }: StoreOptions): string {
  const name = store ?? database ?? process.env.PALIMPSEST_STORE;
  if (name === undefined || name === "") {
    throw new UsageError("no store was named", "Give a folder or postgres://… with --store, or set PALIMPSEST_STORE.");
  }
  return name;
}

function personName(as: string | undefined): string {
  if (as !== undefined) return as;
  const name = userInfo()
    .username.toLowerCase()
    .replace(/[^a-z0-9+.-]+/g, "-")
    .replace(/^[^a-z0-9]+/, "");
  return name || "nobody";
}

/** Opens the store, runs the body, closes it; errors become words and exit status 2. */
export async function withStore(
  options: StoreOptions,
  body: (context: StoreContext) => Promise<number>,
): Promise<void> {
  let store: Store | undefined;
  try {
    const name = storeOf(options);
    const records = await import("../../../../records/src/index.ts");
    try {
      store = await records.openStore({ store: name, blobs: options.attachments });
      const person = await records.ensurePerson(store, { name: personName(options.as) });
      const actor = { ...(await records.actorFor(store, person)), isAll: true };
      process.exitCode = await body({ records, store, actor });
    } catch (error) {
      if (!(error instanceof records.RecordsError)) throw error;
      throw new UsageError(error.message, error instanceof records.StoreError ? error.advice : undefined);
    }
  } catch (error) {
    fail(error, options.json ?? false);
  } finally {
    await store?.close();
  }
}

/** A record's number as an argument. @throws UsageError */
export function recordNumber(text: string): number {
  if (!/^#?\d{1,9}$/.test(text)) throw new UsageError(`"${text}" is no record's number`);
  return Number(text.replace("#", ""));
}
