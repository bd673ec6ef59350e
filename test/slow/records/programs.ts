// Programs that the records' slow tests run: Debian's Python client and this repository's own command.
import { execFile, execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const here = import.meta.dirname;
const run = promisify(execFile);
const PYTHON = "/usr/bin/python3";

/** Why tests with Launchpad's client cannot run here; undefined when they can. */
export const noLaunchpadlib = existsSync("/usr/lib/python3/dist-packages/launchpadlib")
  ? undefined
  : "(python3-launchpadlib is not installed)";

/** Not blocking: the service that it talks to may run in this very process. */
export async function runPython(script: string, args: readonly string[]): Promise<string> {
  const { stdout } = await run(PYTHON, [join(here, script), ...args], {
    encoding: "utf8",
    timeout: 500_000,
    maxBuffer: 64 << 20,
  });
  return stdout;
}

export async function runProgram(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<string> {
  const { stdout, stderr } = await run(program, [...args], {
    encoding: "utf8",
    timeout: 120_000,
    env: { ...process.env, ...env },
  });
  return stdout + stderr;
}

const CLI = join(here, "../../../dist/cli.js");

/** `palimpsest …`, its stdout. */
export async function palimpsest(args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [CLI, ...args], {
    encoding: "utf8",
    timeout: 300_000,
    maxBuffer: 256 << 20,
  });
  return stdout;
}

export function hasProgram(name: string): boolean {
  try {
    execFileSync("/bin/sh", ["-c", `command -v ${name}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
