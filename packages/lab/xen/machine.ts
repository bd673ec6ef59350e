// The machine that real Xen runs on: one QEMU process, emulated unless the processor can nest. Watched on its serial line,
// woken once a second, and never left behind.

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { running } from "../children.ts";
import { lastLines, missingProgram } from "../command.ts";
import { LabError } from "../errors.ts";
import { QmpClient } from "../qmp.ts";

const QEMU = "qemu-system-x86_64";
const TICK_MILLISECONDS = 1000;

export interface XenMachineOptions {
  /** Folder with xen and dom0's vmlinuz. */
  readonly setup: string;
  readonly disk: string;
  /** Holds dom0.cpio; the serial line's text and the control socket go there. */
  readonly folder: string;
  readonly memoryMegabytes: number;
  readonly dom0Megabytes: number;
  /** Added to Xen's command line. */
  readonly xenArguments: string;
}

/** True when guests of this machine can have virtualisation of their own: /dev/kvm alone says nothing. */
export function canNest(cpuinfo = readFileSync("/proc/cpuinfo", "latin1"), device = "/dev/kvm"): boolean {
  if (!/^flags\s*:.*\b(vmx|svm)\b/m.test(cpuinfo)) return false;
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * QEMU's arguments. Emulated: one CPU, one thread, a baseline model: more CPUs corrupt dom0, `max` kills it, and RDTSCP
 * stalls PVH guests.
 */
export function machineArguments(options: XenMachineOptions, nested: boolean): string[] {
  const { setup, disk, folder, memoryMegabytes, dom0Megabytes, xenArguments } = options;
  const processor = nested
    ? [...["-accel", "kvm"], ...["-cpu", "host"], ...["-smp", "2"]]
    : [...["-accel", "tcg,thread=single"], ...["-cpu", "qemu64,+svm,+npt"], ...["-smp", "1"]];
  const xen = [
    `dom0_mem=${dom0Megabytes}M,max:${dom0Megabytes}M dom0_max_vcpus=1`,
    "loglvl=all guest_loglvl=all com1=115200,8n1 console=com1 noreboot console_timestamps=boot",
    xenArguments,
  ];
  return [
    ...processor,
    ...["-m", String(memoryMegabytes)],
    ...["-display", "none"],
    ...["-nodefaults", "-no-reboot"],
    ...["-kernel", join(setup, "xen")],
    ...["-append", xen.join(" ").trim()],
    ...["-initrd", `${join(setup, "vmlinuz")} console=hvc0,${join(folder, "dom0.cpio")}`],
    ...["-drive", `file=${disk},if=virtio,format=raw,cache=unsafe`],
    ...["-serial", `file:${join(folder, "serial.log")}`],
    ...["-qmp", `unix:${join(folder, "qmp")},server=on,wait=off`],
  ];
}

/** A started machine. `stop` must be called whatever happens. */
export class XenMachine {
  private exited = false;
  private complaint = "";
  private startError: Error | undefined;
  private readonly child: ChildProcess;
  private ticking = true;
  private readonly ticker: Promise<void>;
  /** What the ticker's connection is asked to do between two ticks. */
  private errand: ((qmp: QmpClient) => Promise<void>) | undefined;

  constructor(
    private readonly options: XenMachineOptions,
    nested: boolean,
  ) {
    this.child = spawn(QEMU, machineArguments(options, nested), { stdio: ["ignore", "ignore", "pipe"] });
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
    this.ticker = this.tick();
  }

  /** The text on Xen's console so far. */
  console(): string {
    const path = join(this.options.folder, "serial.log");
    return existsSync(path) ? readFileSync(path, "latin1") : "";
  }

  /** False once QEMU has ended. @throws LabError when it could not even start */
  alive(): boolean {
    if (this.startError) throw this.startError;
    if (this.exited && this.console() === "") throw new LabError(`${QEMU} ended at once: ${lastLines(this.complaint)}`);
    return !this.exited;
  }

  /** Writes the whole machine's memory, Xen and all domains, to `path` (kdump, zlib). */
  async dump(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.errand = (qmp) =>
        qmp
          .execute("dump-guest-memory", { paging: false, protocol: `file:${path}`, format: "kdump-zlib" }, 300)
          .then(() => resolve(), reject);
      setTimeout(() => reject(new LabError("QEMU did not write its memory in 320 s")), 320_000).unref();
    });
  }

  /** Ends the machine. */
  async stop(): Promise<void> {
    this.ticking = false;
    this.child.kill("SIGKILL");
    for (let i = 0; i < 200 && !this.exited; i++) await sleep(50);
    running.delete(this.child);
    await this.ticker;
  }

  /**
   * QEMU's emulated SVM now and then loses a pending interrupt of the local APIC; a key that is pressed makes it look
   * again. Without this guests stand still for good.
   */
  private async tick(): Promise<void> {
    const socket = join(this.options.folder, "qmp");
    for (let i = 0; i < 100 && !existsSync(socket) && this.ticking; i++) await sleep(100);
    let qmp: QmpClient | undefined;
    try {
      qmp = await QmpClient.connect(socket);
      while (this.ticking && !this.exited) {
        const keys = [{ type: "qcode", data: "shift" }];
        await qmp.execute("send-key", { keys, "hold-time": 20 }, 120);
        const errand = this.errand;
        this.errand = undefined;
        await errand?.(qmp);
        await sleep(TICK_MILLISECONDS);
      }
    } catch {
      // QEMU has ended, or answers no more: the console's silence tells.
    } finally {
      qmp?.close();
    }
  }
}
