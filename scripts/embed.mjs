// An esbuild plugin that makes bundles whole: what packages load at run time from files beside them (iced-x86 reads its
// WebAssembly with Node's fs, liblzma's is asked of the host) goes into the bundle, so that it runs where there is no
// node_modules and no fs: in an installed package, a single file, a browser worker.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(import.meta.url);

/** The plugin. */
export const embedWasm = {
  name: "embed-wasm",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]iced-x86[\\/]iced_x86\.js$/ }, ({ path }) => ({
      contents: icedModule(readFileSync(path, "utf8")),
      resolveDir: join(path, ".."),
      loader: "js",
    }));
    onLoad({ filter: /[\\/]decompress[\\/]liblzma-wasm\.ts$/ }, () => ({
      contents: `import bytes from "./liblzma.wasm";\nexport const liblzmaWasm = () => bytes;\n`,
      resolveDir: join(require.resolve("node-liblzma/wasm/liblzma.wasm"), ".."),
      loader: "js",
    }));
    onLoad({ filter: /\.wasm$/ }, ({ path }) => ({ contents: readFileSync(path), loader: "binary" }));
  },
};

/** For the single file: the records, whose packages load files of their own, are left out and say so when they are asked for. */
export const withoutRecords = {
  name: "without-records",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]records[\\/]src[\\/]index\.ts$/ }, ({ path }) => ({
      contents: `import { UsageError } from "../../core/src/analysis/refusals.ts";
throw new UsageError("bug records are not in the single file", "Install the package: npm install palimpsest");\n`,
      resolveDir: join(path, ".."),
      loader: "js",
    }));
  },
};

/** wasm-bindgen's CommonJS for Node as an ES module over embedded bytes. @throws Error when the package has another shape */
function icedModule(source) {
  const replaced = (text, from, to) => {
    if (!text.includes(from)) throw new Error(`iced-x86 is not as it was: there is no ${from}`);
    return text.replace(from, () => to);
  };
  let body = replaced(source, "const { TextDecoder, TextEncoder } = require(`util`);", "");
  body = replaced(body, "const path = require('path').join(__dirname, 'iced_x86_bg.wasm');", "");
  body = replaced(body, "const bytes = require('fs').readFileSync(path);", "");
  if (/\brequire\(['"`](?!iced-x86)/.test(body.replace(/^\s*\*.*$/gm, ""))) throw new Error("iced-x86 requires more");
  const names = new Set(Array.from(body.matchAll(/^module\.exports\.([A-Za-z]\w*) = /gm), ([, name]) => name));
  const exported = [...names].map((name) => `export const ${name} = exported.${name};`).join("\n");
  return `import bytes from "./iced_x86_bg.wasm";
const exported = ((module) => {
${body}
return module.exports;
})({ exports: {} });
${exported}
`;
}
