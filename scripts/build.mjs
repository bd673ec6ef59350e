// Bundles each entry of the project into one file under dist/: one file starts faster than two hundred, and a
// reader of a stack trace still sees the sources through the source map. Packages stay outside the bundle.
//
//   node scripts/build.mjs            all targets
//   node scripts/build.mjs cli lab    only these
import { existsSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Target name → the files of dist/ and their sources. */
const targets = {
  cli: { cli: "packages/cli/src/main.ts" },
  // The two halves share their code, so that an error of one is an instance of the other's class.
  library: { index: "packages/core/src/index.ts", node: "packages/node/src/index.ts" },
  specimen: { specimen: "packages/specimen/index.ts" },
  lab: { lab: "packages/lab/main.ts" },
};

/** Bundles one target. @throws esbuild's BuildFailure, whose errors esbuild has already printed. */
async function buildTarget(name, entryPoints) {
  const dist = join(root, "dist");
  const shared = existsSync(dist) ? readdirSync(dist).filter((file) => file.startsWith(`${name}-`)) : [];
  for (const file of shared) rmSync(join(dist, file));
  await build({
    absWorkingDir: root,
    entryPoints,
    outdir: "dist",
    bundle: true,
    splitting: true,
    chunkNames: `${name}-[hash]`,
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
  const missing = Object.values(target).find((source) => !existsSync(join(root, source)));
  if (missing !== undefined) {
    console.error(`build: ${missing} is missing, so target ${name} was not made`);
    failed = true;
    continue;
  }
  try {
    await buildTarget(name, target);
  } catch (error) {
    if (!Array.isArray(error?.errors)) console.error(`build: ${name}: ${error}`);
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;
