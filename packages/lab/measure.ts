// Runs a program under GNU time: what the whole process cost in seconds of clock and processor, and in memory.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./command.ts";

export interface Cost {
  readonly wallSeconds: number;
  /** User and system time together. */
  readonly cpuSeconds: number;
  /** Largest resident set, in MB of 10^6 bytes. */
  readonly peakMegabytes: number;
}

export interface Measured {
  readonly cost: Cost;
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

const anyCode = Array.from({ length: 257 }, (_, index) => index - 1);

/**
 * Runs `program` and measures it; any exit code is handed back.
 * @throws LabError when GNU time or the program is not installed, or it runs longer than `timeoutSeconds`
 */
export async function measure(
  program: string,
  args: readonly string[],
  options: {
    readonly timeoutSeconds: number;
    readonly input?: Uint8Array;
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-time-"));
  const file = join(folder, "cost");
  try {
    const result = await run("/usr/bin/time", ["-f", "%e %U %S %M", "-o", file, program, ...args], {
      ...options,
      label: `${program} ${args[0] ?? ""}`,
      accept: anyCode,
      maxOutputBytes: 256 << 20,
    });
    const cost = parseCost(readFileSync(file, "utf8"));
    return { cost, stdout: result.stdout.toString(), stderr: result.stderr, exitCode: result.exitCode };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Reads GNU time's "%e %U %S %M" from the last line: lines about the exit code may stand before it. */
export function parseCost(text: string): Cost {
  const [wall, user, system, kilobytes] = (text.trim().split("\n").at(-1) ?? "").split(" ").map(Number);
  if (!Number.isFinite(kilobytes)) throw new Error(`GNU time wrote "${text.trim()}"`);
  return { wallSeconds: wall, cpuSeconds: round(user + system), peakMegabytes: round((kilobytes * 1024) / 1e6) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The checkout's root; this file runs as packages/lab/measure.ts in tests and inside dist/lab.js else. */
export const checkout = rootOf(dirname(fileURLToPath(import.meta.url)));

function rootOf(folder: string): string {
  const above = dirname(folder);
  return existsSync(join(folder, "package.json")) || above === folder ? folder : rootOf(above);
}

/** Runs the palimpsest command of this checkout and measures it. */
export function palimpsest(args: readonly string[], timeoutSeconds = 120): Promise<Measured> {
  return measure(process.execPath, [join(checkout, "bin", "palimpsest.js"), ...args], { timeoutSeconds });
}
