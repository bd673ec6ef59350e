#!/usr/bin/env node
// The installed command. It only finds the bundle and hands over: an installed package has dist/, and a checkout
// that was never built builds it once, so that `npx palimpsest` works right after `npm ci`.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const bundle = join(root, "dist", "cli.js");

/** Makes dist/cli.js in a checkout. Returns false, having said why on stderr, when that is not possible. */
function buildBundle() {
  if (!existsSync(join(root, "packages"))) {
    console.error("palimpsest: dist/cli.js is missing from this installation; install the package again");
    return false;
  }
  console.error("palimpsest: first run in this checkout, building dist/cli.js");
  const result = spawnSync(process.execPath, [join(root, "scripts", "build.mjs"), "cli"], { encoding: "utf8" });
  if (result.status === 0 && existsSync(bundle)) return true;
  console.error(`${result.stderr || result.error || ""}palimpsest: the build failed; try: npm ci && npm run build`);
  return false;
}

if (existsSync(bundle) || buildBundle()) {
  // Node 22.1 and later keep the compiled code between runs; older ones have no such function.
  nodeModule.enableCompileCache?.();
  await import("../dist/cli.js");
} else {
  process.exitCode = 2;
}
