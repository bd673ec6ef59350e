// Bundles each entry of the project into one file under dist/: one file starts faster than two hundred, and a
// reader of a stack trace still sees the sources through the source map. Packages stay outside the bundle.
//
//   node scripts/build.mjs            all targets
//   node scripts/build.mjs cli lab    only these
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Target name → its source and the file that it becomes. */
const targets = {
  cli: { source: "src/cli/main.ts", output: "dist/cli.js" },
  index: { source: "src/index.ts", output: "dist/index.js" },
  specimen: { source: "specimen/index.ts", output: "dist/specimen.js" },
  lab: { source: "lab/main.ts", output: "dist/lab.js" },
};

/** Bundles one target. @throws esbuild's BuildFailure, whose errors esbuild has already printed. */
async function buildTarget({ source, output }) {
  await build({
    absWorkingDir: root,
    entryPoints: [source],
    outfile: output,
    bundle: true,
    splitting: false,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    sourcemap: true,
    logLevel: "warning",
  });
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(targets);
let failed = false;
for (const name of wanted) {
  const target = targets[name];
  if (target === undefined) {
    console.error(`build: no target "${name}"; there are ${Object.keys(targets).join(", ")}`);
    failed = true;
    continue;
  }
  if (!existsSync(join(root, target.source))) {
    console.error(`build: ${target.source} is missing, so ${target.output} was not made`);
    failed = true;
    continue;
  }
  try {
    await buildTarget(target);
  } catch (error) {
    if (!Array.isArray(error?.errors)) console.error(`build: ${target.output}: ${error}`);
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;
