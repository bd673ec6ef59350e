// `npm run bench`: what palimpsest costs on the lab's 256 MB dump of Debian 6.1, beside crash and drgn where they are
// installed, all in one run on one machine. A section is one file in bench/ with a `run(context)` that returns rows.
//
//   npm run bench -- [--runs N] [--only SECTION] [--fetch-debug] [--json]
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as diagnose from "./bench/diagnose.mjs";
import * as otherTools from "./bench/other-tools.mjs";
import * as prove from "./bench/prove.mjs";
import { renderRows } from "./bench/render.mjs";

const sections = { diagnose, prove, "other-tools": otherTools };

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { values: flags } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    only: { type: "string" },
    "fetch-debug": { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const runs = Number(flags.runs);
if (!Number.isInteger(runs) || runs < 1 || runs > 100)
  fail(`--runs ${flags.runs}: a whole number from 1 to 100 is wanted`);
if (flags.only !== undefined && !(flags.only in sections)) {
  fail(`--only ${flags.only}: there are ${Object.keys(sections).join(", ")}`);
}

function fail(message) {
  console.error(`bench: ${message}`);
  process.exit(2);
}

/** Runs the lab and returns the folder that it prints. */
function lab(...args) {
  try {
    const options = { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 3_600_000 };
    return execFileSync(process.execPath, [join(root, "dist", "lab.js"), ...args], options).trim();
  } catch {
    return fail(`the lab could not do: ${args.join(" ")}`);
  }
}

const kernel = lab("fetch", "6.1", ...(flags["fetch-debug"] ? ["--debug"] : []));
const dump = lab("boot", "6.1", "--mem", "256", "--format", "elf,elf-paging,kdump-zlib,kdump-plain");
const context = {
  root,
  runs,
  /** The kernel's folder; `vmlinux-debug` in it when that was fetched. */
  kernel,
  /** The dump's folder: vmcore.FORMAT, vmlinuz, modules/. */
  dump,
  note: (line) => console.error(`bench: ${line}`),
};

const rows = [];
for (const [name, section] of Object.entries(sections)) {
  if (flags.only === undefined || flags.only === name) rows.push(...(await section.run(context)));
}
if (flags.json) console.log(JSON.stringify({ schema: "palimpsest/bench/1", dump, runs, rows }, null, 1));
else
  console.log(
    `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} CPUs, median of ${runs} runs\n\n${renderRows(rows)}`,
  );
