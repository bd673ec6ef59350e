// The command line run in-process on specimens that are written to a temporary folder: what a user types, what comes out.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";
import { run } from "../../packages/cli/src/run.ts";
import { makeSpecimen, type Specimen, type SpecimenOptions } from "../../packages/specimen/index.ts";

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number;
}

/** Runs `palimpsest ARGS`. */
export async function palimpsest(...args: readonly string[]): Promise<Outcome> {
  const written = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += text;
      return true;
    }),
  );
  const before = process.exitCode;
  process.exitCode = undefined;
  try {
    await run(args);
    return { ...written, status: Number(process.exitCode ?? 0) };
  } finally {
    process.exitCode = before;
    for (const spy of spies) spy.mockRestore();
  }
}

/** A folder that is gone after the tests of a file, with the user's cache folder inside. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "palimpsest-test-"));
  const cache = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = join(path, "cache");
  return {
    path,
    remove() {
      if (cache === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = cache;
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Writes vmcore, vmlinuz and modules/ as a user has them. */
export function writeSpecimen(folder: string, options: SpecimenOptions = {}): Specimen {
  const specimen = makeSpecimen(options);
  mkdirSync(join(folder, "modules"), { recursive: true });
  writeFileSync(join(folder, "vmcore"), specimen.dump);
  writeFileSync(join(folder, "vmlinuz"), specimen.vmlinuz);
  for (const [name, bytes] of specimen.modules) writeFileSync(join(folder, "modules", name), bytes);
  return specimen;
}
