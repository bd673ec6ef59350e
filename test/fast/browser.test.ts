// The library half runs in a browser worker: bundled for one it imports nothing of Node's, and in a context that has
// only what workers have it opens a dump.
import { join } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build, type Plugin } from "esbuild";
import { expect, test } from "vitest";
import { makeSpecimen } from "../../packages/specimen/index.ts";

const root = join(import.meta.dirname, "..", "..");
/** Packages with a WebAssembly half of their own, which a page loads as it likes. */
const LOADED_BY_PAGE = ["iced-x86", "node-liblzma"];

const bundle = (entry: string, options: { external?: string[]; plugins?: Plugin[]; format: "esm" | "iife" }) =>
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
    ...options,
  });

test("bundled for a browser it imports no part of Node", async () => {
  const external = LOADED_BY_PAGE.flatMap((name) => [name, `${name}/*`]);
  const { metafile } = await bundle("packages/core/src/index.ts", { external, format: "esm" });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
  expect(new Set(imports.map((path) => path.split("/")[0]))).toEqual(new Set(LOADED_BY_PAGE));
  const inputs = Object.keys(metafile.inputs);
  expect(inputs).toContain("packages/core/src/memory/open.ts");
  expect(inputs.filter((path) => /^packages\/(?!core\/)/.test(path))).toEqual([]);
});

test("the half for Node cannot be bundled for a browser: the check above can fail", async () => {
  const external = LOADED_BY_PAGE.flatMap((name) => [name, `${name}/*`]);
  await expect(bundle("packages/node/src/index.ts", { external, format: "esm" })).rejects.toThrow("node:fs");
});

test("without process, Buffer and require it opens a dump", async () => {
  const empty: Plugin = {
    name: "loaded-by-page",
    setup: ({ onResolve, onLoad }) => {
      const filter = new RegExp(`^(${LOADED_BY_PAGE.join("|")})`);
      onResolve({ filter }, ({ path }) => ({ path, namespace: "empty" }));
      onLoad({ filter: /.*/, namespace: "empty" }, () => ({ contents: "module.exports = {}", loader: "js" }));
    },
  };
  const { outputFiles } = await bundle("packages/core/src/index.ts", { plugins: [empty], format: "iife" });
  const dump = makeSpecimen({ format: "kdump" }).dump;
  const context = createContext({ TextDecoder, TextEncoder, console, WebAssembly, performance, dump });
  const facts = runInContext(
    `${outputFiles[0].text}
    const kernel = palimpsest.Analysis.open(new palimpsest.BufferSource("vmcore", dump)).kernel;
    [kernel.release, kernel.modules.length, typeof process, typeof Buffer, typeof require]`,
    context,
  );
  expect(facts).toEqual(["6.1.0-palimpsest", 2, "undefined", "undefined", "undefined"]);
});
