// What `npm run demo` shows: each specimen with the commands to run on it and the exit status that they must end with.

import { makeSpecimen } from "./kernel-6x/specimen.ts";
import { makeBugSpecimen } from "./kernel-30/specimen.ts";

export interface Demo {
  readonly name: string;
  readonly title: string;
  readonly make: () => { dump: Uint8Array; vmlinuz: Uint8Array; modules: ReadonlyMap<string, Uint8Array> };
  readonly commands: readonly { readonly args: readonly string[]; readonly status: number }[];
}

export const demos: readonly Demo[] = [
  {
    name: "tampered",
    title: "A 6.1-shaped kernel with one static branch that contradicts its key and two overwritten bytes",
    make: () => makeSpecimen({ tamper: true }),
    commands: [
      { args: ["diagnose", "vmcore", "--no-cache"], status: 1 },
      { args: ["site", "vmcore", "vfs_write+0x5", "--no-cache"], status: 1 },
    ],
  },
  {
    name: "bug-838026",
    title: "A 3.0 kernel that hangs at boot: floppy_lock is taken by ticket functions and released by Xen's",
    make: () => makeBugSpecimen(),
    commands: [
      { args: ["diagnose", "vmcore", "--no-cache"], status: 1 },
      { args: ["site", "vmcore", "floppy:redo_fd_request+0x186", "--no-cache"], status: 0 },
      { args: ["prove", "vmcore", "_raw_spin_lock_irq", "floppy:redo_fd_request+0x186", "--no-cache"], status: 1 },
    ],
  },
  {
    name: "bug-838026-healthy",
    title: "The same kernel on a host without callback vectors: nothing was switched after it was patched",
    make: () => makeBugSpecimen({ variant: "healthy" }),
    commands: [{ args: ["diagnose", "vmcore", "--no-cache"], status: 0 }],
  },
];
