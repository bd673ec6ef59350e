// The plain data of a dump: what was asked for, and what its facts.json tells. No code of QEMU in it, so that the
// matrix's table and tests can name dumps without being able to make them.
import type { StateName } from "./states.ts";

/** `kdump-plain` is `kdump-zlib`, which QEMU writes flattened, put in order; `kexec` is what a crash kernel writes (makedumpfile -l -d 31). */
export const dumpFormats = ["elf", "elf-paging", "kdump-zlib", "kdump-plain", "kexec"] as const;
export type DumpFormat = (typeof dumpFormats)[number];

/** The guest and what is done with it. */
export interface DumpOptions {
  readonly cpus: number;
  readonly memoryMegabytes: number;
  /** QEMU's -cpu: "max", "qemu64", "Skylake-Server", …; software emulation leaves out what it cannot do. */
  readonly cpuModel: string;
  /** Added to the kernel's command line. */
  readonly append: string;
  /** Modules to load, with what they need; a "-" may stand for "_". */
  readonly modules: readonly string[];
  readonly states: readonly StateName[];
  readonly formats: readonly DumpFormat[];
  /** How many dumps of the first format are taken, half a second apart. */
  readonly snapshots: number;
}

export const defaultOptions: DumpOptions = {
  cpus: 4,
  memoryMegabytes: 192,
  cpuModel: "max",
  append: "",
  modules: ["qemu_fw_cfg", "floppy", "loop", "dm-mod", "xfs", "ext4"],
  states: ["plain"],
  formats: ["elf"],
  snapshots: 1,
};

/** One file of a dump folder. */
export interface DumpFile {
  readonly format: DumpFormat;
  /** File name inside the folder. */
  readonly file: string;
  readonly bytes: number;
  /** How long QEMU took to write it. */
  readonly seconds: number;
}

/** The content of facts.json. */
export interface DumpFacts extends DumpOptions {
  readonly flavour: string;
  readonly package: string;
  readonly packageVersion: string;
  readonly release: string;
  readonly qemuVersion: string;
  /** The modules given to the guest, in load order. */
  readonly modulesGiven: readonly string[];
  /** The modules in the kernel when the dump was taken. */
  readonly modulesLoaded: readonly string[];
  /** Modules that were asked for and that the package does not have. */
  readonly modulesMissing: readonly string[];
  /** Modules that insmod refused. */
  readonly modulesFailed: readonly string[];
  readonly vulnerabilities: Readonly<Record<string, string>>;
  readonly cpusOnline: string;
  readonly bootSeconds: number;
  /** How many guests were started: more than 1 when emulation killed some. */
  readonly attempts: number;
  readonly dumps: readonly DumpFile[];
}
