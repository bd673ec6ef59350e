// Turns what the user typed into dump options, with a message that names the flag when it makes no sense.
import { type DumpFormat, type DumpOptions, defaultOptions, dumpFormats } from "./dump-types.ts";
import { LabError } from "./errors.ts";
import { guestStates, isStateName, panicOf, type StateName } from "./states.ts";

/** The flags of `lab boot`, as the command line parser hands them over. */
export interface BootFlags {
  readonly smp?: string;
  readonly mem?: string;
  readonly cpu?: string;
  readonly append?: string;
  readonly modules?: string;
  readonly state?: string;
  readonly format?: string;
  readonly snapshots?: string;
}

/** @throws LabError naming the flag, what it got and what it takes */
export function parseBootFlags(flags: BootFlags): DumpOptions {
  const options: DumpOptions = {
    cpus: wholeNumber("--smp", flags.smp, defaultOptions.cpus, 1, 64),
    memoryMegabytes: wholeNumber("--mem", flags.mem, defaultOptions.memoryMegabytes, 96, 65536),
    cpuModel: flags.cpu ?? defaultOptions.cpuModel,
    append: flags.append?.trim() ?? defaultOptions.append,
    modules: flags.modules === undefined ? defaultOptions.modules : words(flags.modules),
    states: flags.state === undefined ? defaultOptions.states : words(flags.state).map(stateName),
    formats: flags.format === undefined ? defaultOptions.formats : words(flags.format).map(dumpFormat),
    snapshots: wholeNumber("--snapshots", flags.snapshots, defaultOptions.snapshots, 1, 100),
  };
  const panics = panicOf(options.states) !== undefined;
  if (panics && flags.format === undefined) return parseBootFlags({ ...flags, format: "kexec" });
  // The values stand on QEMU's own command line, where a comma would start another option of the CPU model's.
  if (!/^[A-Za-z0-9_.+-]+(,[+-]?[A-Za-z0-9_.-]+(=\w+)?)*$/.test(options.cpuModel)) {
    throw new LabError(`--cpu "${options.cpuModel}": not a CPU model with features`);
  }
  if (/[^\x20-\x7e]/.test(options.append)) throw new LabError("--append: a kernel command line is plain ASCII");
  const bad = options.modules.find((name) => !/^[A-Za-z0-9_-]+$/.test(name));
  if (bad !== undefined) throw new LabError(`--modules: "${bad}" is no module name`);
  if (panics !== options.formats.includes("kexec") || (panics && options.formats.length > 1)) {
    throw new LabError("--format: kexec is what the states kdump and kdump-nmi make, and they make nothing else");
  }
  if (options.formats.length === 0) throw new LabError(`--format: name at least one of ${dumpFormats.join(", ")}`);
  return { ...options, states: options.states.length > 0 ? options.states : ["plain"] };
}

function words(list: string): string[] {
  return list
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
}

/** A whole number from `least` to `most`; `fallback` when the flag was not given. */
export function wholeNumber(
  flag: string,
  text: string | undefined,
  fallback: number,
  least: number,
  most: number,
): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new LabError(`${flag} "${text}": a whole number from ${least} to ${most} is wanted`);
}

function stateName(name: string): StateName {
  if (isStateName(name)) return name;
  throw new LabError(`--state "${name}": there are ${Object.keys(guestStates).join(", ")}`);
}

function dumpFormat(name: string): DumpFormat {
  const found = dumpFormats.find((format) => format === name);
  if (found) return found;
  throw new LabError(`--format "${name}": there are ${dumpFormats.join(", ")}`);
}
