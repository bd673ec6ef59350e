// `record import|login|person|series|supervisor|hook`: what the owner of a store sets up.

import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { UsageError } from "../../../../core/src/analysis/refusals.ts";
import { note, print } from "../../terminal.ts";
import { actingCommand, type StoreContext, type StoreOptions, storeCommand, withStore } from "./store.ts";

interface AdminOptions extends StoreOptions {
  readonly target?: string;
  readonly keepNumbers?: boolean;
  readonly credentials?: string;
  readonly consumer?: string;
  readonly passwordFile?: string;
  readonly displayName?: string;
  readonly email?: string;
  readonly team?: boolean;
  readonly member?: readonly string[];
  readonly admin?: boolean;
  readonly current?: boolean;
  readonly seriesVersion?: string;
  readonly secretFile?: string;
}

export function registerRecordAdmin(parent: Command): void {
  actingCommand(parent, "import <files...>", "records from Launchpad's +text, a mail folder or an export's JSON")
    .option("--target <path>", "what a record without a task is about", "linux")
    .option("--keep-numbers", "keep the numbers that they have, where these are free")
    .action((files: string[], options: AdminOptions) =>
      withStore(options, (context) => importFiles(context, files, options)),
    );

  storeCommand(parent, "login <name>", "let a person's programs in: launchpadlib's credentials file")
    .option("--credentials <file>", "where to write it (default: stdout)")
    .option("--consumer <name>", "the program's name", "palimpsest")
    .option("--password-file <file>", "also set the person's password for the pages (- reads stdin)")
    .option("--display-name <name>", "the person's full name")
    .action((name: string, options: AdminOptions) => withStore(options, (context) => login(context, name, options)));

  storeCommand(parent, "person <name>", "make a person or a team, or change one")
    .option("--display-name <name>", "the full name")
    .option("--email <address>", "where notifications go")
    .option("--team", "make it a team")
    .option("--member <name...>", "put people into the team")
    .option("--admin", "may do everything")
    .option("--password-file <file>", "set the password for the pages (- reads stdin)")
    .action((name: string, options: AdminOptions) => withStore(options, (context) => person(context, name, options)));

  storeCommand(parent, "series <pillar> <name>", "make a series of a distribution or project")
    .option("--current", "make it the current one: its tasks and the general ones are one")
    .option("--series-version <version>", "11.10")
    .action((pillar: string, name: string, options: AdminOptions) =>
      withStore(options, async ({ records, store }) => {
        const found =
          (await records.findPillar(store.db, pillar)) ?? (await records.ensurePillar(store, "project", pillar));
        await records.ensureSeries(store, found, name, { current: options.current, version: options.seriesVersion });
        print(`${pillar}/${name}${options.current ? " is current" : ""}\n`);
        return 0;
      }),
    );

  storeCommand(
    parent,
    "supervisor <target> <person>",
    "who says what is Triaged and important there (or nobody)",
  ).action((path: string, name: string, options: AdminOptions) =>
    withStore(options, async ({ records, store }) => {
      const target = await records.ensureTarget(store, path);
      await records.setSupervisor(
        store,
        target,
        name === "nobody" ? null : await records.ensurePerson(store, { name }),
      );
      print(`${records.targetName(target)}: ${name}\n`);
      return 0;
    }),
  );

  actingCommand(parent, "hook <url>", "send every change that you may see to an address, signed")
    .option("--target <pillar>", "only of this distribution or project")
    .option("--secret-file <file>", "the secret that signs (default: one is made and printed)")
    .action((url: string, options: AdminOptions) => withStore(options, (context) => hook(context, url, options)));
}

async function importFiles(
  { records, store }: StoreContext,
  files: readonly string[],
  options: AdminOptions,
): Promise<number> {
  const target = options.target ?? "linux";
  const done: { file: string; id: number; title: string }[] = [];
  for (const file of files) {
    const text = readFileSync(file === "-" ? 0 : file, "utf8");
    let found: Awaited<ReturnType<typeof records.parseMbox>>;
    try {
      if (text.trimStart().startsWith("{")) found = records.parseRecords(text);
      else if (text.startsWith("From ")) found = await records.parseMbox(text);
      else found = [await records.parseText(text)];
    } catch (error) {
      throw new UsageError(
        `${file}: ${(error as Error).message}`,
        "It takes Launchpad's +text, a mail folder (mbox), or palimpsest record export.",
      );
    }
    for (const record of found) {
      const id = await records.importRecord(store, record, { target, keepNumbers: options.keepNumbers });
      done.push({ file, id, title: record.title });
    }
  }
  if (options.json) print(`${JSON.stringify({ schema: "palimpsest/record-import/1", records: done }, null, 2)}\n`);
  else for (const { id, title } of done) print(`#${id}  ${title}\n`);
  return 0;
}

function secretFrom(file: string): string {
  return readFileSync(file === "-" ? 0 : file, "utf8").replace(/\r?\n$/, "");
}

async function login({ records, store }: StoreContext, name: string, options: AdminOptions): Promise<number> {
  const who = await records.ensurePerson(store, { name, displayName: options.displayName });
  if (who.is_team) throw new UsageError(`${name} is a team`, "People log in, teams do not.");
  if (options.passwordFile !== undefined) await records.setPassword(store, who, secretFrom(options.passwordFile));
  const text = records.credentialsFile(await records.issueAccess(store, who, options.consumer ?? "palimpsest"));
  if (options.credentials === undefined) print(text);
  else {
    writeFileSync(options.credentials, text, { mode: 0o600 });
    note(
      `palimpsest: ${options.credentials}: a token of ${name}, for LP_CREDENTIALS_FILE or login_with(credentials_file=…)`,
    );
  }
  return 0;
}

async function person({ records, store }: StoreContext, name: string, options: AdminOptions): Promise<number> {
  const { displayName, email, team: isTeam } = options;
  const made = await records.ensurePerson(store, { name, displayName, email, isTeam });
  const values = {
    ...(displayName === undefined ? {} : { display_name: displayName }),
    ...(email === undefined ? {} : { email }),
    ...(options.admin === undefined ? {} : { is_admin: options.admin }),
  };
  if (Object.keys(values).length > 0)
    await store.db.updateTable("person").set(values).where("id", "=", made.id).execute();
  for (const member of options.member ?? [])
    await records.addMember(store, made, await records.ensurePerson(store, { name: member }));
  if (options.passwordFile !== undefined) await records.setPassword(store, made, secretFrom(options.passwordFile));
  print(`~${name}\n`);
  return 0;
}

async function hook({ records, store, actor }: StoreContext, url: string, options: AdminOptions): Promise<number> {
  if (!/^https?:\/\/[^\s/]+/.test(url)) throw new UsageError(`"${url}" is no web address`);
  const pillar = options.target === undefined ? undefined : await records.findPillar(store.db, options.target);
  if (options.target !== undefined && pillar === undefined) throw new UsageError(`there is no ${options.target}`);
  const secret =
    options.secretFile === undefined ? randomBytes(24).toString("base64url") : secretFrom(options.secretFile);
  const row = await store.db
    .insertInto("webhook")
    .values({ url, secret, pillar_id: pillar?.id ?? null, owner_id: actor.person.id, date_created: store.now() })
    .returning("id")
    .executeTakeFirstOrThrow();
  print(
    options.json
      ? `${JSON.stringify({ id: row.id, url, secret })}\n`
      : `hook ${row.id}  ${url}\n${options.secretFile ? "" : `secret  ${secret}\n`}`,
  );
  return 0;
}
