// Whether the package that would be published works for who installs it: packs it, installs the tarball in an empty folder
// without network, and there runs the command, a program on each of the two entries (with its types checked), a bundle for
// browsers and the single file. What a program gets must be what the command prints, byte for byte.
//
//   node scripts/check-package.mjs            (npm run check:package)
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(import.meta.url);
const work = mkdtempSync(join(tmpdir(), "palimpsest-package-"));
const app = join(work, "app");
mkdirSync(app);

function run(what, command, args, { cwd = app, statuses = [0], env = {} } = {}) {
  const result = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    timeout: 300_000,
    maxBuffer: 1 << 28,
    env: {
      ...process.env,
      npm_config_cache: join(work, "npm-cache"),
      XDG_CACHE_HOME: join(work, "cache"),
      npm_config_ignore_scripts: "false",
      ...env,
    },
  });
  if (!statuses.includes(result.status)) {
    throw new Error(
      `${what}: ${command} ${args.join(" ")}: ${result.status ?? result.signal}\n${result.stdout}${result.stderr}`,
    );
  }
  return result.stdout;
}

/** Time and memory are no result. */
const settled = (json) => json.replace(/"(seconds|memoryBytes)": [\d.e-]+/g, '"$1": 0');

function same(what, got, wanted) {
  if (settled(got) === settled(wanted)) return console.log(`${what}: the same as the command's`);
  writeFileSync(join(tmpdir(), "palimpsest-got.json"), got);
  writeFileSync(join(tmpdir(), "palimpsest-wanted.json"), wanted);
  throw new Error(
    `${what}: other than the command prints (palimpsest-got.json, palimpsest-wanted.json in ${tmpdir()})`,
  );
}

const PROGRAM = `import { type DiagnoseResult, UsageError } from "palimpsest";
import { openDump } from "palimpsest/node";

const [path = "vmcore", what = "diagnose"] = process.argv.slice(2);
const analysis = await openDump(path, { cache: false, onNote: (sentence) => console.error(sentence) });
try {
  const answers = {
    diagnose: (): Promise<DiagnoseResult> => analysis.diagnose(),
    locks: () => analysis.locks(),
    prove: () => analysis.prove("_raw_spin_lock_irq", "_raw_spin_unlock_irqrestore"),
  };
  const ask = answers[what as keyof typeof answers];
  if (ask === undefined) throw new UsageError("no such question");
  console.log(JSON.stringify(await ask(), null, 2));
} finally {
  analysis.close();
}
`;

const PAGE = `import { Analysis, BufferSource, openKernelImage, openModuleImage } from "palimpsest";
globalThis.answer = (async () => {
  const image = openKernelImage(new BufferSource(paths.vmlinuz, files.vmlinuz));
  const module = ({ name }) => {
    const path = paths.modules[name];
    return path && openModuleImage(new BufferSource(path, files.modules[name]), path);
  };
  const images = async () => ({ core: image, module });
  const analysis = Analysis.open(new BufferSource(paths.vmcore, files.vmcore), { images });
  return JSON.stringify(await analysis.diagnose(), null, 2);
})();
`;

async function browser(cli, place, names) {
  writeFileSync(join(app, "page.mjs"), PAGE);
  const { outputFiles } = await build({
    absWorkingDir: app,
    entryPoints: ["page.mjs"],
    bundle: true,
    write: false,
    platform: "browser",
    format: "iife",
    target: "es2022",
  });
  const bytes = (name) => new Uint8Array(readFileSync(join(place, name)));
  const context = createContext({
    ...{ TextDecoder, TextEncoder, WebAssembly, performance, URL, atob, console, setTimeout, AbortSignal },
    paths: {
      vmcore: join(place, "vmcore"),
      vmlinuz: join(place, "vmlinuz"),
      modules: Object.fromEntries(names.map((name) => [name, join(place, "modules", `${name}.ko`)])),
    },
    files: {
      vmcore: bytes("vmcore"),
      vmlinuz: bytes("vmlinuz"),
      modules: Object.fromEntries(names.map((name) => [name, bytes(`modules/${name}.ko`)])),
    },
  });
  const answer = runInContext(`${outputFiles[0].text}\nanswer`, context);
  same("the bundle for browsers", `${await answer}\n`, cli("diagnose"));
}

try {
  const packed = run("pack", "npm", ["pack", "--pack-destination", work, "--json"], { cwd: root });
  const [{ filename, size, unpackedSize }] = JSON.parse(packed.slice(packed.indexOf("[\n")));
  console.log(
    `packed ${filename}: ${(size / 2 ** 20).toFixed(1)} MiB, ${(unpackedSize / 2 ** 20).toFixed(1)} MiB unpacked`,
  );
  writeFileSync(join(app, "package.json"), '{ "private": true, "type": "module" }\n');
  const tarball = join(work, filename);
  // No compiler, no Python, no network: neither may be found.
  const bare = { npm_config_offline: "true", CC: "false", CXX: "false", PYTHON: "false", npm_config_python: "false" };
  run("install", "npm", ["install", "--no-audit", "--no-fund", tarball], { env: bare });
  const version = run("version", "npx", ["--no-install", "palimpsest", "--version"]).trim();
  const wanted = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
  if (version !== wanted) throw new Error(`--version says ${version}, the package is ${wanted}`);
  run("demo", "npx", ["--no-install", "palimpsest", "demo", "--keep", join(work, "demo")]);
  console.log(`installed offline: palimpsest ${version}, its demo runs`);

  const place = join(work, "demo", "bug-838026");
  const dump = join(place, "vmcore");
  const command = join(app, "node_modules", ".bin", "palimpsest");
  const more = { prove: ["_raw_spin_lock_irq", "_raw_spin_unlock_irqrestore"] };
  const cli = (what) =>
    run(what, command, [what, dump, ...(more[what] ?? []), "--json", "--no-cache"], { statuses: [0, 1, 2] });
  writeFileSync(join(app, "program.ts"), PROGRAM);
  const options = ["--target", "es2023", "--module", "nodenext", "--types", "node", "--strict"];
  const roots = ["--typeRoots", join(root, "node_modules", "@types")];
  run("types", process.execPath, [require.resolve("typescript/bin/tsc"), ...options, ...roots, "program.ts"]);
  console.log("the program's types are right");
  for (const what of ["diagnose", "locks", "prove"]) {
    same(`the program's ${what}`, run(what, process.execPath, ["program.js", dump, what]), cli(what));
  }
  await browser(cli, place, ["floppy", "parport"]);

  const single = join(work, "single", "palimpsest.mjs");
  mkdirSync(dirname(single));
  copyFileSync(join(app, "node_modules", "palimpsest", "dist", "palimpsest.mjs"), single);
  const alone = run("single file", process.execPath, [single, "diagnose", dump, "--json", "--no-cache"], {
    statuses: [1],
  });
  same("the single file", alone, cli("diagnose"));
  for (const file of ["man/palimpsest.1", "schema/diagnose.json", "docs/json.md"]) {
    if (!existsSync(join(app, "node_modules", "palimpsest", file))) throw new Error(`${file} is not in the package`);
  }
  console.log("the package is whole");
} catch (error) {
  console.error(`check-package: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
