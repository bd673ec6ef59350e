// The library half runs in a browser worker: bundled for one it imports nothing of Node's, and in a context that has
// only what workers have it opens a dump.
import { join } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { makeSpecimen } from "../../packages/specimen/index.ts";
import { embedWasm } from "../../scripts/embed.mjs";

const root = join(import.meta.dirname, "..", "..");
const bundle = (entry: string, options: { external?: string[]; format: "esm" | "iife" }) =>
  build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    platform: "browser",
    target: "es2022",
    write: false,
    metafile: true,
    logLevel: "silent",
    globalName: "palimpsest",
    plugins: [embedWasm],
    ...options,
  });

test("bundled for a browser it imports nothing", async () => {
  const { metafile } = await bundle("packages/core/src/index.ts", { format: "esm" });
  // What liblzma's glue code would import where it runs in Node is never asked for in a browser.
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
  expect(imports).toEqual([]);
  const inputs = Object.keys(metafile.inputs);
  expect(inputs).toContain("packages/core/src/memory/open.ts");
  expect(inputs.filter((path) => /^packages\/(?!core\/)/.test(path))).toEqual([]);
});

test("the half for Node cannot be bundled for a browser: the check above can fail", async () => {
  await expect(bundle("packages/node/src/index.ts", { format: "esm" })).rejects.toThrow("node:fs");
});

test("without process, Buffer and require it diagnoses a dump", async () => {
  const { outputFiles } = await bundle("packages/core/src/index.ts", { format: "iife" });
  const { dump, vmlinuz } = makeSpecimen({ format: "kdump", tamper: true });
  const host = { TextDecoder, TextEncoder, console, WebAssembly, performance, atob };
  const context = createContext({ ...host, dump, vmlinuz });
  const facts: unknown = await runInContext(
    `${outputFiles[0].text}
    const core = palimpsest.openKernelImage(new palimpsest.BufferSource("vmlinuz", vmlinuz));
    const images = async () => ({ core, module: () => undefined });
    const analysis = palimpsest.Analysis.open(new palimpsest.BufferSource("vmcore", dump), { images });
    analysis.diagnose().then(({ kernel, findings }) =>
      JSON.stringify([kernel.release, findings.map(({ id }) => id), typeof process, typeof Buffer, typeof require]))`,
    context,
  );
  const none = ["undefined", "undefined", "undefined"];
  expect(JSON.parse(String(facts))).toEqual(["6.1.0-palimpsest", ["site.stale", "text.foreign"], ...none]);
});
