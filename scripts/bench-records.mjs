// Bundles the records' load generator and runs it: npm run bench:records -- --records 100000
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

const outfile = "dist/bench-records.mjs";
await build({
  entryPoints: ["packages/records/bench/load.ts"],
  outfile,
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
});
process.exitCode = spawnSync(process.execPath, [outfile, ...process.argv.slice(2)], { stdio: "inherit" }).status ?? 1;
