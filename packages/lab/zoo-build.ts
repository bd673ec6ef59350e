// Builds a kernel of the zoo and lays it out in the cache as a fetched one lies there, so that it boots like any other.
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { lastLines, run } from "./command.ts";
import { LabError } from "./errors.ts";
import { cachedKernels, type Kernel, type KernelFacts, kernelKey } from "./kernels.ts";
import { withLock } from "./lock.ts";
import { cacheFolder, fillFolder, shortDigest } from "./paths.ts";
import type { ZooRow } from "./zoo.ts";
import { type Compiler, findCompiler } from "./zoo-compilers.ts";
import { allConfig, baseConfig, type ConfigLine, refusedOptions } from "./zoo-config.ts";
import { fetchSource, type KernelSource } from "./zoo-source.ts";

/** The content of build.json, beside kernel.json. */
export interface BuildFacts {
  readonly compiler: string;
  /** By the clock. */
  readonly seconds: number;
}

/** The build would take longer than it may. What is compiled stays, and the next try goes on from there. */
export class BuildTooSlowError extends LabError {}

const anyCode = Array.from({ length: 257 }, (_, index) => index - 1);

/** All configuration of a row. */
export function rowConfig(row: ZooRow): ConfigLine[] {
  return [...baseConfig, ...row.config];
}

/** What a row's kernel is called among those of the cache. */
export function zooFlavour(row: ZooRow): string {
  return `zoo/${row.name}`;
}

/** The kernels of a row in the cache, newest first. */
export function builtKernels(row: ZooRow): Kernel[] {
  return cachedKernels().filter(({ flavour }) => flavour === zooFlavour(row));
}

/** What was noted when a kernel of the zoo was built. */
export function buildFacts(kernel: Kernel): BuildFacts {
  return JSON.parse(readFileSync(join(kernel.folder, "build.json"), "utf8")) as BuildFacts;
}

/** A kernel's package and version, as if Debian had made it: another recipe or compiler is another version. */
export function zooPackage(
  row: ZooRow,
  sourceVersion: string,
  compiler: string,
): Pick<KernelFacts, "package" | "version"> {
  const recipe = JSON.stringify([allConfig(rowConfig(row)), row.make, compiler]);
  return { package: `zoo-${row.name}`, version: `${sourceVersion}+${shortDigest(recipe)}` };
}

/**
 * The row's kernel, from the cache or built now, in at most `limitSeconds`.
 * @throws BuildTooSlowError when that does not do; UnavailableError without source or compiler; LabError with the words
 *   of kconfig or the compiler
 */
export async function buildKernel(row: ZooRow, note: (line: string) => void, limitSeconds: number): Promise<Kernel> {
  const until = Date.now() + limitSeconds * 1000;
  const source = await fetchSource(row.series, note);
  const compiler = await findCompiler(row.compiler, note);
  const name = zooPackage(row, source.version, compiler.about);
  const folder = join(cacheFolder("kernels"), kernelKey(name));
  return withLock(join(cacheFolder("locks"), `zoo-${row.name}`), async () => {
    const present = cachedKernels().find((kernel) => kernel.folder === folder);
    if (present) return present;
    const work = join(cacheFolder("builds"), kernelKey(name));
    mkdirSync(work, { recursive: true });
    const start = Date.now();
    await compile(row, source, compiler, work, until);
    const seconds = Math.round((Date.now() - start) / 1000);
    let facts: KernelFacts | undefined;
    await fillFolder(folder, async (temporary) => {
      facts = { flavour: zooFlavour(row), ...name, release: layOut(work, temporary) };
      writeFileSync(
        join(temporary, "build.json"),
        `${JSON.stringify({ compiler: compiler.about, seconds }, null, 1)}\n`,
      );
      writeFileSync(join(temporary, "kernel.json"), `${JSON.stringify(facts, null, 1)}\n`);
    });
    rmSync(work, { recursive: true });
    if (facts === undefined) throw new LabError(`${folder}: was not written`);
    note(`${row.name}: built in ${seconds} s by ${compiler.about}`);
    return { ...facts, folder };
  });
}

/** Configures and makes the kernel in `work`. */
async function compile(
  row: ZooRow,
  source: KernelSource,
  compiler: Compiler,
  work: string,
  until: number,
): Promise<void> {
  const make = async (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> => {
    const left = Math.floor((until - Date.now()) / 1000);
    if (left < 1) throw new BuildTooSlowError(`${row.name}: no time left to build it`);
    // timeout ends make with all that it started, which killing make alone would not.
    const bounded = ["--kill-after=10", String(left), "nice", "-n", "10", "make"];
    const all = [...bounded, "-C", source.folder, `O=${work}`, "-s", ...compiler.make, ...row.make, ...args];
    const { exitCode, stdout, stderr } = await run("timeout", all, {
      timeoutSeconds: left + 30,
      label: `make ${args.join(" ")}`,
      accept: anyCode,
      env: { ...reproducible, ...env },
      maxOutputBytes: 256 << 20,
    });
    if (exitCode === 124 || exitCode === 137) {
      throw new BuildTooSlowError(`${row.name}: not built in ${Math.round(left)} s; what is compiled is kept`);
    }
    const words = `${stdout.toString()}${stderr}`;
    if (exitCode === 0) return words;
    writeFileSync(join(work, "failed.log"), words);
    const errors = words.split("\n").filter((line) => /\b[Ee]rror\b|undefined reference|not found/.test(line));
    throw new LabError(
      `${row.name}: make ${args.join(" ")} failed: ${errors.slice(0, 4).join("\n") || lastLines(words)}`,
    );
  };
  const config = join(work, ".config");
  const wanted = join(work, "wanted.config");
  if (!existsSync(config)) {
    writeFileSync(wanted, allConfig(rowConfig(row)));
    await make(["allnoconfig"], { KCONFIG_ALLCONFIG: wanted });
  }
  const refused = refusedOptions(rowConfig(row), readFileSync(config, "utf8"));
  if (refused.length > 0) {
    rmSync(config);
    throw new LabError(`${row.name}: kconfig of ${source.version} does not take ${refused.join(", ")}`);
  }
  const modules = /^CONFIG_MODULES=y$/m.test(readFileSync(config, "utf8")) ? ["modules"] : [];
  await make([`-j${availableParallelism()}`, "bzImage", ...modules]);
}

/** One recipe gives one kernel, whoever builds it and when; no words of this machine's environment get in. */
const reproducible: Readonly<Record<string, string | undefined>> = {
  ...{ LC_ALL: "C", KBUILD_BUILD_TIMESTAMP: "Thu Jan  1 00:00:00 UTC 2026" },
  ...{ KBUILD_BUILD_USER: "lab", KBUILD_BUILD_HOST: "lab", KBUILD_BUILD_VERSION: "1" },
  ...{ MAKEFLAGS: undefined, ARCH: undefined, CROSS_COMPILE: undefined, KCFLAGS: undefined, LLVM: undefined },
};

/** Copies what a guest and an account need from a finished build; the kernel's release. */
function layOut(work: string, folder: string): string {
  const release = readFileSync(join(work, "include", "config", "kernel.release"), "utf8").trim();
  copyFileSync(join(work, "arch", "x86", "boot", "bzImage"), join(folder, "vmlinuz"));
  copyFileSync(join(work, ".config"), join(folder, "config"));
  const modules = join(folder, "lib", "modules", release, "kernel");
  mkdirSync(modules, { recursive: true });
  for (const path of readdirSync(work, { recursive: true, encoding: "utf8" })) {
    if (path.endsWith(".ko")) cpSync(join(work, path), join(modules, basename(path)));
  }
  return release;
}
