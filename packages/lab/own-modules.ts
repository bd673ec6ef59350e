// Builds the lab's own modules (packages/lab/modules) against a kernel's headers with this machine's gcc. They bring a guest into
// states that no shell can: locks held and waited for, lock slots that change too late.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./command.ts";
import { LabError } from "./errors.ts";
import type { GuestModule } from "./guest.ts";
import { fetchHeaders } from "./headers.ts";
import { type Kernel, kernelKey } from "./kernels.ts";
import { withLock } from "./lock.ts";
import { checkout } from "./measure.ts";
import { cacheFolder, fillFolder, shortDigest } from "./paths.ts";

/** Half a minute on an idle machine; kbuild starves on a busy one. */
const BUILD_TIMEOUT_SECONDS = 900;

/** Options of the kernel's own compiler that an older gcc does not take, and what switches them off. */
const COMPILER_OPTIONS: readonly (readonly [flag: string, config: string])[] = [
  ["-fmin-function-alignment=16", "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT"],
  ["-mharden-sls=all", "CONFIG_CC_HAS_SLS"],
  ["-mfunction-return=thunk-extern", "CONFIG_CC_HAS_RETURN_THUNK"],
];

const sources = join(checkout, "packages", "lab", "modules");

/** Eight hex digits that change with the sources of these modules. */
export function sourcesDigest(names: readonly string[]): string {
  const texts = sourceFiles(names).map((name) => `${name}\n${readFileSync(join(sources, name), "utf8")}`);
  return shortDigest(texts.join("\n"));
}

function sourceFiles(names: readonly string[]): string[] {
  return ["Makefile", ...[...names].sort().map((name) => `${name}.c`)];
}

/**
 * The lab's modules of these names, built for `kernel`; once for each state of their sources.
 * @throws UnavailableError when the kernel's headers cannot be had; LabError with the compiler's words when it fails
 */
export async function ownModules(
  kernel: Kernel,
  names: readonly string[],
  note: (line: string) => void,
): Promise<GuestModule[]> {
  if (names.length === 0) return [];
  const folder = join(cacheFolder("modules"), `${kernelKey(kernel)}-${sourcesDigest(names)}`);
  // Looked for without the lock too: a build of other sources for this kernel may hold it for minutes.
  if (!existsSync(folder)) {
    await withLock(join(cacheFolder("locks"), `modules-${kernel.package}`), async () => {
      if (existsSync(folder)) return;
      const headers = await fetchHeaders(kernel, note);
      await fillFolder(folder, (temporary) => build(kernel, names, headers, temporary, note));
    });
  }
  return names.map((name) => ({ name, bytes: readFileSync(join(folder, `${name}.ko`)) }));
}

async function build(
  kernel: Kernel,
  names: readonly string[],
  headers: string,
  folder: string,
  note: (line: string) => void,
): Promise<void> {
  const work = join(folder, "work");
  mkdirSync(work);
  for (const name of sourceFiles(names)) cpSync(join(sources, name), join(work, name));
  const objects = `LAB_MODULES=${names.map((name) => `${name}.o`).join(" ")}`;
  const settings = [objects, "CC=gcc", "HOSTCC=gcc", ...(await unsupported(join(headers, ".config"), folder))];
  // Module BTF would need pahole; kbuild leaves it out without this kernel's vmlinux anyway.
  const args = ["-C", headers, `M=${work}`, ...settings, "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"];
  const { stdout, stderr, exitCode } = await run("make", args, {
    timeoutSeconds: BUILD_TIMEOUT_SECONDS,
    accept: Array.from({ length: 256 }, (_, code) => code),
    env: { LC_ALL: "C", MAKEFLAGS: "", ARCH: undefined, CROSS_COMPILE: undefined },
  });
  const built = readdirSync(work).filter((name) => name.endsWith(".ko"));
  if (exitCode !== 0 || built.length === 0) {
    const words = `${stderr}\n${stdout.toString()}`.split("\n").filter((line) => /error|Error|not found/.test(line));
    throw new LabError(`modules for ${kernel.release} could not be built: ${words.slice(0, 5).join("\n")}`);
  }
  for (const name of built) cpSync(join(work, name), join(folder, name));
  writeFileSync(join(folder, "build.log"), `${args.join(" ")}\n${stdout.toString()}${stderr}`);
  rmSync(work, { recursive: true });
  note(`${kernel.release}: built ${built.join(", ")}`);
}

/** "CONFIG_X=" for what the kernel's compiler could and this one cannot: kbuild then does without. */
async function unsupported(config: string, folder: string): Promise<string[]> {
  const text = readFileSync(config, "utf8");
  const out: string[] = [];
  const empty = join(folder, "empty.c");
  writeFileSync(empty, "");
  for (const [flag, name] of COMPILER_OPTIONS) {
    if (!text.includes(`${name}=y`)) continue;
    const args = ["-Werror", flag, "-mindirect-branch=thunk-extern", "-c", empty, "-o", join(folder, "empty.o")];
    const { exitCode } = await run("gcc", args, { timeoutSeconds: 60, accept: [0, 1, 4] });
    if (exitCode !== 0) out.push(`${name}=`);
  }
  return out;
}
