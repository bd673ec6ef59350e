// `record new`: a diagnosis becomes a record, and records of the same cause are named with what speaks for and against.
import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { basename } from "node:path";
import { type Command, Option } from "commander";
import { UsageError } from "../../../../core/src/analysis/refusals.ts";
import type { Diagnosis, Proposal } from "../../../../records/src/index.ts";
import { note, print } from "../../terminal.ts";
import { actingCommand, type StoreOptions, withStore } from "./store.ts";

interface NewOptions extends StoreOptions {
  readonly from?: string;
  readonly title?: string;
  readonly description?: string;
  readonly target?: string;
  readonly packageVersion?: string;
  readonly tag?: readonly string[];
  readonly informationType?: string;
  readonly autoDuplicate?: string | true;
  readonly image?: string;
  readonly modules?: string;
  readonly log?: string;
}

const LARGEST_RESULT = 256 << 20;
/** Above this likeness `--auto-duplicate` decides by itself. */
const SURE = 0.9;

export function registerRecordNew(parent: Command): void {
  actingCommand(parent, "new", "make a record, of a diagnosis or by hand")
    .option("--from <file>", "a dump, or the JSON of `palimpsest diagnose --json`")
    .option("--image <file>", "kernel image, when --from is a dump")
    .option("--modules <dir>", "modules, when --from is a dump")
    .option("--log <file>", "lines of the kernel's log to quote")
    .option("--title <text>", "instead of the diagnosis' own")
    .option("--description <text>", "instead of the diagnosis' own")
    .option("--target <path>", "what it is about: ubuntu/+source/linux, linux (default: by the kernel's banner)")
    .option("--package-version <version>", "the version that has the fault (default: by the banner)")
    .option("--tag <tag...>", "more tags")
    .addOption(
      new Option("--information-type <type>", "who sees it").choices([
        "Public",
        "Public Security",
        "Private Security",
        "Private",
        "Proprietary",
        "Embargoed",
      ]),
    )
    .option(
      "--auto-duplicate [bound]",
      `mark it as a duplicate of a record at least this much alike (0 to 1, default ${SURE})`,
    )
    .action((options: NewOptions) => run(options));
}

async function run(options: NewOptions): Promise<void> {
  await withStore(options, async ({ records, store, actor }) => {
    const bound = boundOf(options.autoDuplicate);
    const json = options.from === undefined ? undefined : await resultOf(options.from, options);
    let diagnosis: Diagnosis | undefined;
    try {
      diagnosis = json === undefined ? undefined : records.readDiagnosis(json);
    } catch (error) {
      throw new UsageError(
        `${options.from}: ${(error as Error).message}`,
        "Give a dump, or what `palimpsest diagnose --json DUMP` printed.",
      );
    }
    const log = options.log === undefined ? [] : readFileSync(options.log, "utf8").split("\n").slice(-40);
    const report = diagnosis && records.describe(diagnosis, log);
    const title = options.title ?? report?.title;
    if (title === undefined)
      throw new UsageError("a record needs a title", "Give --from DUMP, --from result.json or --title.");
    const target = await records.ensureTarget(store, options.target ?? report?.target ?? "linux");
    const proposals = report?.signature ? await records.findDuplicates(store.db, actor, report.signature) : [];
    const id = await records.createBug(store, actor, {
      title,
      description: options.description ?? report?.description ?? title,
      targets: [target],
      tags: [...(report?.tags ?? []), ...(options.tag ?? [])],
      informationType: options.informationType,
      signature: report?.signature?.id,
      cause: report?.signature && { parts: report.signature.parts, release: diagnosis?.release },
    });
    if (json !== undefined) {
      const fileName = `${basename(options.from!).replace(/\.json$/, "")}.json`;
      const bytes = new TextEncoder().encode(json);
      await records.addAttachment(store, actor, id, {
        bytes,
        fileName,
        contentType: "application/json",
        description: "diagnosis",
        comment: "The diagnosis.",
      });
    }
    const version = options.packageVersion ?? report?.packageVersion;
    if (version !== undefined && target.package !== undefined) {
      await records.changeBug(store, actor, id, (c) =>
        records.markVersion(c, target.pillar, target.package!, version, "found"),
      );
    }
    const best = proposals[0];
    const duplicateOf = bound !== undefined && best !== undefined && best.score >= bound ? best.bug : undefined;
    if (duplicateOf !== undefined)
      await records.changeBug(store, actor, id, (c) => records.editBug(c, { duplicateOf }));
    const result = {
      schema: "palimpsest/record-new/1",
      id,
      title,
      target: records.targetPath(target),
      signature: report?.signature ?? null,
      duplicateOf: duplicateOf ?? null,
      proposals,
    };
    print(
      options.json
        ? `${JSON.stringify(result, null, 2)}\n`
        : text(id, title, proposals, duplicateOf, report?.signature?.id),
    );
    return 0;
  });
}

function boundOf(given: string | true | undefined): number | undefined {
  if (given === undefined) return undefined;
  const bound = given === true ? SURE : Number(given);
  if (!(bound > 0 && bound <= 1)) throw new UsageError(`"${String(given)}" is no bound: it is between 0 and 1`);
  return bound;
}

function text(
  id: number,
  title: string,
  proposals: readonly Proposal[],
  duplicateOf: number | undefined,
  signature?: string,
): string {
  const lines = [`#${id}  ${title}`];
  if (signature) lines.push(`  signature ${signature}`);
  if (duplicateOf !== undefined) lines.push(`  marked as a duplicate of #${duplicateOf}`);
  else if (proposals.length > 0) lines.push("", "Maybe the same as:");
  for (const { bug, title: other, score, reasonsFor, reasonsAgainst } of proposals) {
    lines.push(`  #${bug}  ${other}  (${Math.round(score * 100)}% alike)`);
    for (const reason of reasonsFor.slice(0, 4)) lines.push(`      for      ${reason}`);
    for (const reason of reasonsAgainst.slice(0, 4)) lines.push(`      against  ${reason}`);
  }
  if (proposals.length > 0 && duplicateOf === undefined) {
    lines.push("", `If it is: palimpsest record duplicate ${id} ${proposals[0]!.bug}`);
  }
  return `${lines.join("\n")}\n`;
}

/** The JSON of a diagnosis: the file itself, or that of the dump in it. */
async function resultOf(path: string, options: NewOptions): Promise<string> {
  const size = statSync(path).size;
  if (looksLikeJson(path) && size <= LARGEST_RESULT) return readFileSync(path, "utf8");
  note(`palimpsest: diagnosing ${path}`);
  return diagnose(path, options);
}

function looksLikeJson(path: string): boolean {
  const file = openSync(path, "r");
  try {
    const start = Buffer.alloc(64);
    return start
      .subarray(0, readSync(file, start, 0, 64, 0))
      .toString("latin1")
      .trimStart()
      .startsWith("{");
  } finally {
    closeSync(file);
  }
}

/** Runs `diagnose --json` of this very program: the record gets what a person would have been told. */
async function diagnose(path: string, { image, modules }: NewOptions): Promise<string> {
  const { spawn } = await import("node:child_process");
  const flags = [...(image ? ["--image", image] : []), ...(modules ? ["--modules", modules] : [])];
  const child = spawn(process.execPath, [process.argv[1]!, "diagnose", path, "--json", ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const parts: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  await new Promise<void>((done, failed) => {
    child.once("error", failed);
    child.once("close", () => done());
  });
  const output = Buffer.concat(parts).toString("utf8");
  if (output.includes('"palimpsest/error/1"')) {
    const { error } = JSON.parse(output) as { error: { message: string; advice: string | null } };
    throw new UsageError(error.message, error.advice ?? undefined);
  }
  return output;
}
