// One guest under QEMU's software emulation: started, watched on its serial console until it says that it is ready,
// dumped over QMP, ended. Every step has a time limit, and no guest outlives the lab.

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { running } from "./children.ts";
import { lastLines, missingProgram } from "./command.ts";
import { LabError } from "./errors.ts";
import { QmpClient } from "./qmp.ts";

const QEMU = "qemu-system-x86_64";
const DUMP_TIMEOUT_SECONDS = 300;
/** A guest that says nothing for so long hangs: the longest wait of a state is a minute. */
const SILENCE_SECONDS = 120;

export interface GuestMachine {
  readonly vmlinuz: string;
  readonly initrd: string;
  readonly cpus: number;
  readonly memoryMegabytes: number;
  readonly cpuModel: string;
  readonly append: string;
  /** A bare disk (/dev/vda), and a guest that panics without ending: its crash kernel goes on. */
  readonly disk?: string;
  /** Where the serial console's text goes. */
  readonly serialLog: string;
}

/** The guest died, hung or panicked before it was ready: with software emulation worth another try. */
export class GuestDiedError extends LabError {}

/** A started guest. `stop` must be called whatever happens. */
export class Guest {
  private exited = false;
  private complaint = "";
  private startError: Error | undefined;
  private readonly child: ChildProcess;
  private readonly folder = mkdtempSync(join(tmpdir(), "palimpsest-lab-"));
  private qmp: QmpClient | undefined;

  constructor(private readonly machine: GuestMachine) {
    rmSync(machine.serialLog, { force: true });
    const { cpuModel, cpus, memoryMegabytes, vmlinuz, initrd, append, serialLog, disk } = machine;
    // vmcoreinfo with the guest module qemu_fw_cfg is what puts the VMCOREINFO note into the dump; panic=-1 with
    // -no-reboot makes a guest that panics end at once.
    const args = [
      ["-accel", "tcg,thread=multi"],
      ["-cpu", cpuModel],
      ["-smp", String(cpus)],
      ["-m", String(memoryMegabytes)],
      ["-kernel", vmlinuz],
      ["-initrd", initrd],
      ["-append", `console=ttyS0 panic=-1 ${append}`.trim()],
      ["-display", "none"],
      ["-serial", `file:${serialLog}`],
      ["-qmp", `unix:${this.socketPath},server=on,wait=off`],
      ["-no-reboot", "-nodefaults"],
      ["-device", "vmcoreinfo"],
      disk === undefined ? [] : ["-drive", `file=${disk},if=virtio,format=raw,cache=unsafe`],
    ].flat();
    this.child = spawn(QEMU, args, { stdio: ["ignore", "ignore", "pipe"] });
    running.add(this.child);
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.complaint = (this.complaint + chunk.toString()).slice(-4096);
    });
    this.child.on("error", (error: NodeJS.ErrnoException) => {
      this.startError = error.code === "ENOENT" ? missingProgram(QEMU) : error;
      this.exited = true;
    });
    this.child.on("exit", () => {
      this.exited = true;
    });
  }

  private get socketPath(): string {
    return join(this.folder, "qmp");
  }

  /** The text on the serial console so far. */
  serial(): string {
    return existsSync(this.machine.serialLog) ? readFileSync(this.machine.serialLog, "latin1") : "";
  }

  /**
   * Waits until the console has a line that `marker` matches; the seconds that this took.
   * @throws GuestDiedError when the guest ends, panics or stays silent; LabError when QEMU would not even start it
   */
  async waitFor(marker: RegExp, timeoutSeconds: number): Promise<number> {
    const start = Date.now();
    let heard = { length: 0, at: start };
    for (;;) {
      const ended = this.exited; // read before the console: what an ended guest wrote is then all there
      const text = this.serial();
      const seconds = (Date.now() - start) / 1000;
      if (marker.test(text)) return seconds;
      if (this.startError) throw this.startError;
      if (ended && text === "") throw new LabError(`${QEMU} ended at once: ${lastLines(this.complaint)}`);
      // A CPU that is stuck for a second report (44 s) does not come back.
      const dying =
        this.machine.disk === undefined ? /Kernel panic - not syncing|soft lockup[\s\S]*soft lockup/ : /(?!)/;
      if (ended || dying.test(text)) {
        throw new GuestDiedError(`the guest died after ${seconds.toFixed(0)} s: ${lastWords(text)}`);
      }
      if (seconds > timeoutSeconds) {
        throw new GuestDiedError(`the guest was not ready after ${timeoutSeconds} s: ${lastWords(text)}`);
      }
      if (text.length !== heard.length) heard = { length: text.length, at: Date.now() };
      // A crash kernel boots a second time, and copies memory without a word.
      const silence = this.machine.disk === undefined ? SILENCE_SECONDS : SILENCE_SECONDS * 4;
      if (Date.now() - heard.at > silence * 1000) {
        throw new GuestDiedError(`the guest said nothing for ${silence} s: ${lastWords(text)}`);
      }
      await sleep(250);
    }
  }

  /** Writes the guest's memory to `path`; `format` is QEMU's, undefined for ELF. Seconds that it took. */
  async dump(path: string, format: string | undefined, paging: boolean): Promise<number> {
    this.qmp ??= await QmpClient.connect(this.socketPath);
    const start = Date.now();
    const args = { paging, protocol: `file:${path}`, ...(format ? { format } : {}) };
    await this.qmp.execute("dump-guest-memory", args, DUMP_TIMEOUT_SECONDS);
    if (this.exited) throw new GuestDiedError(`QEMU ended while it wrote the dump: ${lastLines(this.complaint)}`);
    if (statSync(path).size === 0) throw new LabError(`${path}: QEMU wrote nothing`);
    chmodSync(path, 0o644); // QEMU makes it unreadable for all but the owner
    return (Date.now() - start) / 1000;
  }

  /** Injects a non-maskable interrupt. */
  async nmi(): Promise<void> {
    this.qmp ??= await QmpClient.connect(this.socketPath);
    await this.qmp.execute("inject-nmi", {}, 20);
  }

  /** Holds the guest still, so that dumps of several formats show one moment; or lets it run on. */
  async hold(still: boolean): Promise<void> {
    this.qmp ??= await QmpClient.connect(this.socketPath);
    await this.qmp.execute(still ? "stop" : "cont", {}, 20);
  }

  /** QEMU's version: "7.2.22". */
  async version(): Promise<string> {
    this.qmp ??= await QmpClient.connect(this.socketPath);
    const { qemu } = (await this.qmp.execute("query-version", {}, 20)) as { qemu: Record<string, number> };
    return `${qemu.major}.${qemu.minor}.${qemu.micro}`;
  }

  /** Ends the guest and removes what was temporary. */
  async stop(): Promise<void> {
    this.qmp?.close();
    this.child.kill("SIGKILL");
    for (let i = 0; i < 100 && !this.exited; i++) await sleep(50);
    running.delete(this.child);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The kernel's last words that tell why it died, or its last line. */
function lastWords(text: string): string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const telling = lines.find((line) => /BUG:|Oops:|general protection|Kernel panic|unable to handle/.test(line));
  return (telling ?? lines.at(-1) ?? "no output").trim().slice(0, 200);
}
