// One process of the fuzzer: runs cases of one target, seed after seed, and says on stdout what it is about to do and what went
// wrong. scripts/fuzz.mjs starts it, watches it and knows, by the last line, which seed a process died or hung with.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { run } from "../../packages/cli/src/run.ts";
import { Random } from "../fast/damage.ts";
import { type Files, TARGETS, WITNESS } from "./targets.ts";

/** CPU seconds of one command, and bytes that the process may hold. */
const MOST_SECONDS = 10;
const MOST_BYTES = 1 << 30;

const [, , targetName, firstSeed, seconds, schemas, most] = process.argv;
const say = (line: object): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
  readonly seconds: number;
}

async function command(args: readonly string[]): Promise<Outcome> {
  const written = { stdout: "", stderr: "" };
  const real = { stdout: process.stdout.write, stderr: process.stderr.write };
  for (const name of ["stdout", "stderr"] as const) {
    process[name].write = ((text: string) => {
      written[name] += text;
      return true;
    }) as never;
  }
  process.exitCode = undefined;
  const before = process.cpuUsage();
  try {
    await run(args);
  } finally {
    process.stdout.write = real.stdout;
    process.stderr.write = real.stderr;
  }
  const used = process.cpuUsage(before);
  const status = Number(process.exitCode ?? 0);
  process.exitCode = 0;
  return { ...written, status, seconds: (used.user + used.system) / 1e6 };
}

const compiled = new Map<string, ValidateFunction>();

function schemaProblem(text: string): string | undefined {
  let result: { schema?: unknown };
  try {
    result = JSON.parse(text);
  } catch (error) {
    return `no JSON: ${error}`;
  }
  const name = /^palimpsest\/([\w-]+)\/1$/.exec(String(result.schema))?.[1];
  if (name === undefined) return `an unknown schema: ${result.schema}`;
  let validate = compiled.get(name);
  if (validate === undefined) {
    const schema = JSON.parse(readFileSync(join(schemas, `${name}.json`), "utf8"));
    validate = new Ajv2020({ allowUnionTypes: true }).compile(schema);
    compiled.set(name, validate);
  }
  return validate(result) ? undefined : `${name}: ${JSON.stringify(validate.errors?.[0])}`;
}

interface Account {
  readonly complete?: boolean;
  readonly account?: { readonly bytes: number; readonly freed: number };
  readonly notes?: readonly string[];
  readonly notChecked?: readonly object[];
  readonly error?: { readonly kind: string; readonly message: string };
}

/** What is wrong with the answer, whatever the input was. */
function violation(args: readonly string[], outcome: Outcome, cleanBytes: number): string | undefined {
  const { stdout, stderr, status, seconds: used } = outcome;
  if (![0, 1, 2].includes(status)) return `exit status ${status}`;
  if (used > MOST_SECONDS) return `${used.toFixed(1)} s of CPU`;
  if (process.memoryUsage().rss > MOST_BYTES) return `${process.memoryUsage().rss >> 20} MiB`;
  if (/this is a bug in palimpsest/.test(stdout + stderr)) return (stdout + stderr).slice(0, 400);
  if (!args.includes("--json") || args.includes("--help") || args.includes("help")) return undefined;
  if (stdout === "") return "no JSON at all";
  const wrong = schemaProblem(stdout);
  if (wrong !== undefined) return wrong;
  const result = JSON.parse(stdout) as Account;
  if (result.error?.kind === "internal") return result.error.message;
  if (result.account === undefined || result.complete !== true) return undefined;
  const looked = result.account.bytes + result.account.freed;
  const told = (result.notes?.length ?? 0) + (result.notChecked?.length ?? 0);
  if (looked < cleanBytes && told === 0)
    return `complete with ${looked} of ${cleanBytes} bytes, and no problem is told`;
  return undefined;
}

function write(folder: string, files: Files): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-fuzz-"));
  process.env.XDG_CACHE_HOME = join(folder, "cache");
  try {
    const place = join(folder, "case");
    const make = TARGETS[targetName];
    if (make === undefined) throw new Error(`no target "${targetName}"`);
    let witness = "";
    if (targetName === "replay") {
      write(place, WITNESS.files());
      process.chdir(place);
      witness = (await command(WITNESS.args)).stdout;
    }
    const target = make(() => witness);
    write(place, target.clean);
    process.chdir(place);
    const first = [...target.commands(new Random(1)), "--json"];
    const clean = await command(first);
    if (!target.cleanStatus.includes(clean.status))
      throw new Error(`the clean files: ${first.join(" ")}: status ${clean.status}: ${clean.stdout.slice(0, 300)}`);
    const account = (JSON.parse((await command(["audit", "vmcore", "--json"])).stdout) as Account).account;
    const cleanBytes = account === undefined ? 0 : account.bytes + account.freed;
    const end = Date.now() + Number(seconds) * 1000;
    let cases = 0;
    for (let seed = Number(firstSeed); cases === 0 || (Date.now() < end && cases < Number(most)); seed++, cases++) {
      const random = new Random(seed);
      process.chdir(folder);
      write(place, target.damage(random));
      process.chdir(place);
      const args = [...target.commands(random)];
      if (random.below(4) !== 0 && targetName !== "arguments") args.push("--json");
      say({ seed, args });
      const outcome = await command(args);
      const wrong = violation(args, outcome, cleanBytes);
      if (wrong !== undefined) say({ seed, args, wrong });
    }
    say({ done: cases });
  } finally {
    process.chdir("/");
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
