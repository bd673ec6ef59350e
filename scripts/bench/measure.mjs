// Runs a program several times under GNU time and keeps the median: processor time and peak memory are the whole
// process's, wall time depends on what else the machine does.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TIMEOUT_MILLISECONDS = 300_000;

/**
 * One row of the bench: `runs` runs of `command`, with the medians. `expect` must match what each run prints; a run
 * that does not do its work must not count as a fast one.
 * @returns {{name: string, cpuSeconds?: number, wallSeconds?: number, peakMegabytes?: number, problem?: string}}
 */
export function measure(name, runs, command, { input = "", env = {}, expect = /(?:)/, exitCodes = [0] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-bench-"));
  const costs = [];
  try {
    for (let run = 0; run < runs; run++) {
      const file = join(folder, "cost");
      const result = spawnSync("/usr/bin/time", ["-f", "%e %U %S %M", "-o", file, ...command], {
        input,
        encoding: "utf8",
        env: { ...process.env, ...env },
        timeout: TIMEOUT_MILLISECONDS,
        maxBuffer: 256 << 20,
      });
      if (result.error) return { name, problem: problemOf(result.error) };
      if (!exitCodes.includes(result.status) || !expect.test(result.stdout)) {
        const said = (result.stderr || result.stdout).trim().split("\n").at(-1);
        return { name, problem: `exit code ${result.status}: ${said}` };
      }
      const [wall, user, system, kilobytes] = readFileSync(file, "utf8")
        .trim()
        .split("\n")
        .at(-1)
        .split(" ")
        .map(Number);
      costs.push({ wall, cpu: user + system, megabytes: (kilobytes * 1024) / 1e6 });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    name,
    cpuSeconds: median(costs.map(({ cpu }) => cpu)),
    wallSeconds: median(costs.map(({ wall }) => wall)),
    peakMegabytes: median(costs.map(({ megabytes }) => megabytes)),
  };
}

function problemOf(error) {
  return error.code === "ENOENT" ? "GNU time is not installed; try: apt-get install time" : error.message;
}

/** The middle value; of an even number, the lower of the two. */
export function median(values) {
  return [...values].sort((a, b) => a - b)[(values.length - 1) >> 1];
}

/** The path of an installed program, or undefined. */
export function installed(program) {
  const found = spawnSync("/bin/sh", ["-c", 'command -v -- "$1"', "sh", program], { encoding: "utf8" });
  return found.status === 0 ? found.stdout.trim() : undefined;
}
