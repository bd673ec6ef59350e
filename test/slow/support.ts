// What every slow test starts from: a real dump out of the lab's cache, made when it is not there, and the built
// command run on it.
import { join } from "node:path";
import { type DumpFacts, type DumpFormat, type DumpOptions, defaultOptions } from "../../packages/lab/dump-types.ts";
import { LabError, UnavailableError } from "../../packages/lab/errors.ts";
import { fetchKernel } from "../../packages/lab/kernels.ts";
import { dumpPath, makeDump } from "../../packages/lab/make-dump.ts";
import { matrix } from "../../packages/lab/matrix.ts";
import { type Measured, palimpsest } from "../../packages/lab/measure.ts";

export type { Measured } from "../../packages/lab/measure.ts";

export interface LabDump {
  readonly folder: string;
  readonly facts: DumpFacts;
  /** The image that the guest booted. */
  readonly vmlinuz: string;
  /** The folder of the .ko files that the guest had. */
  readonly modules: string;
  /** The dump file of a format; "elf" without one. @throws LabError when the dump was not made in that format */
  path(format?: DumpFormat): string;
}

const note = (line: string) => process.stderr.write(`lab: ${line}\n`);

/**
 * A dump of the lab: `name` is a kernel's flavour ("6.1", "7-cloud") with `options` (4 CPUs, 192 MiB, freshly booted,
 * ELF without them), or a row of the matrix ("6.1/kprobe") whose options `options` may change.
 * @throws UnavailableError when no suite offers that kernel now; LabError when the dump cannot be made
 */
export async function labDump(name: string, options: Partial<DumpOptions> = {}): Promise<LabDump> {
  const row = matrix.find((known) => known.name === name);
  if (!row && name.includes("/")) throw new LabError(`the matrix has no dump "${name}"`);
  const kernel = await fetchKernel(row?.flavour ?? name, note);
  const dump = await makeDump(kernel, { ...(row?.options ?? defaultOptions), ...options }, note);
  const { folder, facts } = dump;
  return {
    folder,
    facts,
    vmlinuz: join(folder, "vmlinuz"),
    modules: join(folder, "modules"),
    path: (format = dump.facts.dumps[0].format) => dumpPath(dump, format),
  };
}

/** Whether a kernel can be had now, for `it.skipIf`: an old suite may have vanished, which is no fault of the code. */
export async function labHas(flavour: string): Promise<boolean> {
  try {
    await fetchKernel(flavour, note);
    return true;
  } catch (error) {
    if (error instanceof UnavailableError) return false;
    throw error;
  }
}

/** Runs the built `palimpsest` with image and modules of the dump; its output, exit code and cost. */
export function diagnose(dump: LabDump, ...more: readonly string[]): Promise<Measured> {
  return palimpsest(["diagnose", dump.path(), "--image", dump.vmlinuz, "--modules", dump.modules, ...more]);
}

export { palimpsest };
