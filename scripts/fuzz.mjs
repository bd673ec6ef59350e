// Damaged input of every kind, as much as the time allows: no exception, no answer after 10 s of CPU, no memory over 1 GiB, no JSON
// that its schema refuses, never "complete" with less looked at and no problem told.
//
//   npm run fuzz                                   half a minute a target
//   npm run fuzz -- --minutes 10 kdump btf         ten minutes each of these
//   npm run fuzz -- --minutes 1 --cases 200        … but no more than 200 cases each
//   npm run fuzz -- --seed 1234 --minutes 0 kdump  one case again
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** A case that says nothing for so long hangs, on a busy machine too. */
const SILENCE_MS = 90_000;
const STACK_OF_KINDS = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "0.5" },
    cases: { type: "string", default: "1000000000" },
    seed: { type: "string" },
    list: { type: "boolean" },
  },
});
const minutes = Number(values.minutes);
if (!(minutes >= 0)) {
  console.error(`fuzz: "${values.minutes}" is no number of minutes`);
  process.exit(2);
}
const outdir = join(root, "dist", "fuzz");
await build({
  absWorkingDir: root,
  entryPoints: { worker: "test/fuzz/worker.ts", targets: "test/fuzz/targets.ts" },
  outdir,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  logLevel: "warning",
});
const { TARGETS } = await import(join(outdir, "targets.js"));
const all = Object.keys(TARGETS);
const wanted = positionals.length === 0 || positionals.includes("all") ? all : positionals;
const unknown = wanted.filter((name) => !all.includes(name));
if (values.list || unknown.length > 0) {
  if (unknown.length > 0) console.error(`fuzz: no target ${unknown.join(", ")}`);
  console.log(all.join("\n"));
  process.exit(unknown.length > 0 ? 2 : 0);
}

/** Runs one target; gives its cases and what went wrong. */
function fuzz(target, seed) {
  return new Promise((resolve) => {
    const args = [
      join(outdir, "worker.js"),
      target,
      String(seed),
      String(minutes * 60),
      join(root, "schema"),
      values.cases,
    ];
    const child = spawn(process.execPath, ["--max-old-space-size=1024", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const wrong = [];
    let last;
    let done;
    let cases = 0;
    let errors = "";
    const watch = setInterval(() => {
      if (Date.now() - heard < SILENCE_MS) return;
      wrong.push({ ...last, wrong: `no answer within ${SILENCE_MS / 1000} s` });
      child.kill("SIGKILL");
    }, 1000);
    let heard = Date.now();
    child.stderr.on("data", (text) => {
      errors = (errors + text).slice(-2000);
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      heard = Date.now();
      const said = JSON.parse(line);
      if (said.done !== undefined) done = said.done;
      else if (said.wrong !== undefined) wrong.push(said);
      else {
        last = said;
        cases++;
      }
    });
    child.on("close", (code, signal) => {
      clearInterval(watch);
      if (done === undefined && wrong.length === 0)
        wrong.push({ ...last, wrong: `the process ended with ${signal ?? code}: ${errors.slice(-600)}` });
      resolve({ cases: done ?? cases, wrong });
    });
  });
}

// Another day, other seeds; the same day the same ones, so that a failure in CI can be seen again.
const today = Math.floor(Date.now() / 86_400_000) * 10_000;
let failed = 0;
for (const target of wanted) {
  const seed = values.seed === undefined ? today : Number(values.seed);
  const { cases, wrong } = await fuzz(target, seed);
  console.log(
    `${target.padEnd(14)} ${String(cases).padStart(7)} cases from seed ${seed}: ${wrong.length === 0 ? "held" : `${wrong.length} wrong`}`,
  );
  const kinds = new Map();
  for (const each of wrong) kinds.set(each.wrong.replace(/[0-9a-f]{4,}|\d+/g, "N"), each);
  for (const { seed: at, args, wrong: what } of [...kinds.values()].slice(0, STACK_OF_KINDS)) {
    console.log(`  seed ${at}: palimpsest ${(args ?? []).map((each) => JSON.stringify(each)).join(" ")}\n    ${what}`);
    console.log(`    again: npm run fuzz -- --seed ${at} --minutes 0 ${target}`);
  }
  if (wrong.length > 0) failed++;
}
console.log(`${wanted.length - failed} of ${wanted.length} targets held`);
process.exitCode = failed > 0 ? 1 : 0;
