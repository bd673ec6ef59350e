// Makes a dump folder: kernel, modules and a state in; memory dumps, vmlinuz, modules/, serial.log and facts.json
// out. Dumps are kept in the cache by package version and options, and are made once.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CRASH_APPEND, CRASH_MEGABYTES, crashDisk, crashFiles, takeCrashDump, WRITTEN } from "./crash-kernel.ts";
import type { DumpFacts, DumpFile, DumpFormat, DumpOptions } from "./dump-types.ts";
import { defaultOptions } from "./dump-types.ts";
import { LabError } from "./errors.ts";
import { rearrange } from "./flatmap.ts";
import { type GuestModule, initramfs, initScript, readGuestReport, statesNotTaken } from "./guest.ts";
import { type Kernel, kernelKey } from "./kernels.ts";
import { withLock } from "./lock.ts";
import { ModuleTree } from "./modules.ts";
import { ownModules, sourcesDigest } from "./own-modules.ts";
import { cacheFolder, fillFolder, shortDigest } from "./paths.ts";
import { Guest, GuestDiedError } from "./qemu.ts";
import { type GuestState, guestStates, ownModulesOf, panicOf, type StateName } from "./states.ts";

/** A dump folder of the cache. */
export interface Dump {
  readonly folder: string;
  readonly facts: DumpFacts;
}

const ATTEMPTS = 4;
const BOOT_TIMEOUT_SECONDS = 240;
const CRASH_TIMEOUT_SECONDS = 900;
const SNAPSHOT_PAUSE_MILLISECONDS = 500;

/** The path of a dump's file of one format (its first, when there are snapshots). @throws LabError if it has none */
export function dumpPath(dump: Dump, format: DumpFormat = "elf"): string {
  const found = dump.facts.dumps.find((file) => file.format === format);
  if (!found) throw new LabError(`${dump.folder}: no dump of format ${format}`);
  return join(dump.folder, found.file);
}

/** The folder name of a dump without its formats: readable words, then a digest of all that shapes the guest. */
export function dumpKey(options: DumpOptions): string {
  const { cpus, memoryMegabytes, cpuModel, append, states, modules, snapshots } = options;
  const words = [...states, `${cpus}cpu`, `${memoryMegabytes}m`, cpuModel, append].join("-");
  const readable = words.replace(/[^A-Za-z0-9.]+/g, "-").replace(/-+$/, "");
  const recipe = JSON.stringify([cpus, memoryMegabytes, cpuModel, append, states, modules, snapshots]);
  const modulesOfStates = ownModulesOf(states);
  const own = modulesOfStates.length > 0 ? sourcesDigest(modulesOfStates) : "";
  return `${readable.slice(0, 80)}-${shortDigest(recipe + initScript(modules, states) + own)}`;
}

/** Dump folders of one kernel in the cache, or of all. */
export function cachedDumps(kernel?: Kernel): Dump[] {
  const root = cacheFolder("dumps");
  return readdirSync(root)
    .filter((name) => !kernel || name === kernelKey(kernel))
    .flatMap((name) => readdirSync(join(root, name)).map((dump) => join(root, name, dump)))
    .filter((folder) => existsSync(join(folder, "facts.json")))
    .map(readDump);
}

function readDump(folder: string): Dump {
  return { folder, facts: JSON.parse(readFileSync(join(folder, "facts.json"), "utf8")) as DumpFacts };
}

/** A dump in the cache with these options and at least these formats, or undefined. */
export function findDump(kernel: Kernel, options: DumpOptions): Dump | undefined {
  const key = dumpKey(options);
  return cachedDumps(kernel).find(
    ({ folder, facts }) =>
      folder.slice(folder.lastIndexOf("/") + 1).startsWith(`${key}.`) &&
      options.formats.every((format) => facts.dumps.some((file) => file.format === format)),
  );
}

/**
 * The dump of `kernel` with `options` (what is not given is `defaultOptions`), from the cache or made now.
 * `note` gets a line for every guest that emulation killed.
 * @throws LabError when no guest came up in four tries, a state did not take, or a program is missing
 */
export async function makeDump(
  kernel: Kernel,
  given: Partial<DumpOptions>,
  note: (line: string) => void,
): Promise<Dump> {
  const options: DumpOptions = { ...defaultOptions, ...given };
  const name = `${dumpKey(options)}.${[...options.formats].sort().join("+")}`;
  const folder = join(cacheFolder("dumps"), kernelKey(kernel), name);
  return withLock(join(cacheFolder("locks"), `dump-${shortDigest(folder)}`), async () => {
    const present = findDump(kernel, options);
    if (present) return present;
    await fillFolder(folder, (temporary) => bootAndDump(kernel, options, temporary, note));
    return readDump(folder);
  });
}

async function bootAndDump(
  kernel: Kernel,
  options: DumpOptions,
  folder: string,
  note: (line: string) => void,
): Promise<void> {
  const tree = new ModuleTree(join(kernel.folder, "lib", "modules", kernel.release));
  const { modules, missing } = await tree.resolve(options.modules);
  const given = [...modules, ...(await ownModules(kernel, ownModulesOf(options.states), note))];
  const vmlinuz = join(folder, "vmlinuz");
  copyFileSync(join(kernel.folder, "vmlinuz"), vmlinuz);
  writeModules(folder, given);
  const script = initScript(
    modules.map(({ name }) => name),
    options.states,
  );
  const initrd = join(folder, "initrd.gz");
  const panic = panicOf(options.states);
  const busybox = readBusybox();
  writeFileSync(
    initrd,
    initramfs(busybox, given, script, panic === undefined ? [] : await crashFiles(tree, vmlinuz, busybox)),
  );
  for (let attempt = 1; ; attempt++) {
    const crash = panic === undefined ? {} : crashMachine(options, folder);
    const guest = new Guest({ ...options, ...crash, vmlinuz, initrd, serialLog: join(folder, "serial.log") });
    try {
      const bootSeconds = await guest.waitFor(/@lab:ready \S+\r?\n/, BOOT_TIMEOUT_SECONDS);
      const report = readGuestReport(guest.serial());
      const wrong = statesNotTaken(report, options.states);
      if (wrong.length > 0) throw new GuestDiedError(`state did not take: ${wrong.join(", ")}`);
      await lastAct(guest, options.states);
      const facts: DumpFacts = {
        flavour: kernel.flavour,
        package: kernel.package,
        packageVersion: kernel.version,
        release: kernel.release,
        ...options,
        qemuVersion: await guest.version(),
        modulesGiven: given.map((module) => module.name),
        modulesLoaded: report.loaded,
        modulesMissing: missing,
        modulesFailed: report.failed,
        vulnerabilities: report.vulnerabilities,
        cpusOnline: report.online,
        bootSeconds: Math.round(bootSeconds * 10) / 10,
        attempts: attempt,
        dumps:
          crash.disk === undefined
            ? await takeDumps(guest, options, folder)
            : await crashDump(guest, crash.disk, folder),
      };
      writeFileSync(join(folder, "facts.json"), `${JSON.stringify(facts, null, 1)}\n`);
      rmSync(initrd);
      return;
    } catch (error) {
      if (!(error instanceof GuestDiedError)) throw error;
      const which = `${kernel.release} [${options.states.join(",")}]: ${error.message}`;
      if (attempt === ATTEMPTS) throw new LabError(`${which} (try ${attempt} of ${ATTEMPTS}, the last)`);
      note(`${which} (try ${attempt} of ${ATTEMPTS}; software emulation does this now and then)`);
    } finally {
      await guest.stop();
    }
  }
}

/** A machine with room for a crash kernel, and a disk that it writes to. */
function crashMachine(
  { append, memoryMegabytes }: DumpOptions,
  folder: string,
): { append?: string; memoryMegabytes?: number; disk?: string } {
  return {
    append: `${CRASH_APPEND} ${append}`.trim(),
    memoryMegabytes: Math.max(memoryMegabytes, CRASH_MEGABYTES),
    disk: crashDisk(folder),
  };
}

/** Waits for the crash kernel, which the guest's panic starts, and takes what it wrote. */
async function crashDump(guest: Guest, disk: string, folder: string): Promise<DumpFile[]> {
  if (/@lab:nmi/.test(guest.serial())) await guest.nmi();
  const seconds = await guest.waitFor(WRITTEN, CRASH_TIMEOUT_SECONDS);
  const file = "vmcore.kexec";
  takeCrashDump(disk, guest.serial(), join(folder, file));
  return [{ format: "kexec", file, bytes: statSync(join(folder, file)).size, seconds: Math.round(seconds * 10) / 10 }];
}

/** Waits for the end of a guest that does not survive its state. */
async function lastAct(guest: Guest, states: readonly StateName[]): Promise<void> {
  for (const { until, nmi } of states.map((state): GuestState => guestStates[state])) {
    if (nmi !== undefined) {
      await guest.waitFor(nmi, BOOT_TIMEOUT_SECONDS);
      await guest.nmi();
    }
    if (until !== undefined) await guest.waitFor(until, BOOT_TIMEOUT_SECONDS);
  }
}

/** Writes each format that was asked for, then the further snapshots of the first one. */
async function takeDumps(guest: Guest, options: DumpOptions, folder: string): Promise<DumpFile[]> {
  const dumps: DumpFile[] = [];
  const take = async (format: DumpFormat, file: string) => {
    const path = join(folder, file);
    let seconds: number;
    if (format === "kdump-plain") {
      const flattened = `${path}.flattened`;
      seconds = await guest.dump(flattened, "kdump-zlib", false);
      rearrange(flattened, path);
      rmSync(flattened);
    } else {
      seconds = await guest.dump(path, format === "kdump-zlib" ? format : undefined, format === "elf-paging");
    }
    dumps.push({ format, file, bytes: statSync(path).size, seconds: Math.round(seconds * 10) / 10 });
  };
  await guest.hold(true);
  for (const format of options.formats) await take(format, `vmcore.${format}`);
  for (let i = 2; i <= options.snapshots; i++) {
    await guest.hold(false);
    await sleep(SNAPSHOT_PAUSE_MILLISECONDS);
    await guest.hold(true);
    await take(options.formats[0], `vmcore-${i}.${options.formats[0]}`);
  }
  return dumps;
}

function writeModules(folder: string, modules: readonly GuestModule[]): void {
  mkdirSync(join(folder, "modules"));
  for (const { name, bytes } of modules) writeFileSync(join(folder, "modules", `${name}.ko`), bytes);
}

/** The static busybox that is the guest's whole userland. */
export function readBusybox(): Uint8Array {
  const found = ["/bin/busybox", "/usr/bin/busybox"].find(existsSync);
  const bytes = found && readFileSync(found);
  if (!bytes) throw new LabError("busybox is not installed; try: apt-get install busybox-static");
  // A dynamically linked one would need its libraries inside the guest: PT_INTERP names the loader by its path.
  if (bytes.includes("/lib64/ld-linux"))
    throw new LabError(`${found} is not static; try: apt-get install busybox-static`);
  return bytes;
}
