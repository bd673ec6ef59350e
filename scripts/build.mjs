// Bundles each entry of the project into one file under dist/: one file starts faster than two hundred, and a
// reader of a stack trace still sees the sources through the source map. What the command and the library need to read
// dumps is in the bundle, WebAssembly too, so that the published package installs without a compiler; what only the
// records need stays outside, as the packages that it is.
//
//   node scripts/build.mjs            all targets
//   node scripts/build.mjs cli lab    only these
import { existsSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { embedWasm, withoutRecords } from "./embed.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Target name → the files of dist/ and their sources. */
const targets = {
  cli: { entryPoints: { cli: "packages/cli/src/main.ts" } },
  // The two halves share their code, so that an error of one is an instance of the other's class; both halves' shared code
  // must run in a browser worker.
  library: {
    entryPoints: { index: "packages/core/src/index.ts", node: "packages/node/src/index.ts" },
    platform: "neutral",
    mainFields: ["browser", "module", "main"],
    conditions: ["browser", "import", "default"],
    banner: {},
  },
  // The whole command in one file, for a machine without npm: node palimpsest.mjs diagnose vmcore
  single: {
    entryPoints: { palimpsest: "packages/cli/src/main.ts" },
    splitting: false,
    outExtension: { ".js": ".mjs" },
    plugins: [embedWasm, withoutRecords],
  },
  specimen: { entryPoints: { specimen: "packages/specimen/index.ts" } },
  lab: { entryPoints: { lab: "packages/lab/main.ts" } },
};

/** Packages of the records' server, which load files of their own. */
const records = [
  "@electric-sql/*",
  "@fastify/*",
  "fastify",
  "kysely",
  "kysely/*",
  "light-my-request",
  "nodemailer",
  "pg",
];
const outside = ["node:*", ...records, "postal-mime", "prom-client"];

/** Packages of CommonJS call require(), which a bundle of ES modules does not have by itself. */
const requireBanner = `import { createRequire as palimpsestRequire } from "node:module";
const require = palimpsestRequire(import.meta.url);`;

/** Bundles one target. @throws esbuild's BuildFailure, whose errors esbuild has already printed. */
async function buildTarget(name, options) {
  const dist = join(root, "dist");
  const shared = existsSync(dist) ? readdirSync(dist).filter((file) => file.startsWith(`${name}-`)) : [];
  for (const file of shared) rmSync(join(dist, file));
  await build({
    absWorkingDir: root,
    outdir: "dist",
    bundle: true,
    splitting: true,
    chunkNames: `${name}-[hash]`,
    format: "esm",
    platform: "node",
    target: "node20",
    external: outside,
    plugins: [embedWasm],
    banner: { js: requireBanner },
    sourcemap: true,
    logLevel: "warning",
    ...options,
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
  const missing = Object.values(target.entryPoints).find((source) => !existsSync(join(root, source)));
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
