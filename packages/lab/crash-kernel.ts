// A real kdump: the guest loads a crash kernel with kexec, panics, and the crash kernel writes what /proc/vmcore has to a bare
// disk, flattened, which the lab puts in order. Dumps of a hypervisor show none of a crash's own marks: CPUs stopped by
// NMI, registers saved by the kernel, CPUs that saved none.
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { lastLines, run } from "./command.ts";
import type { CpioEntry } from "./cpio.ts";
import { LabError } from "./errors.ts";
import { rearrange } from "./flatmap.ts";
import { type GuestModule, initramfs } from "./guest.ts";
import type { ModuleTree } from "./modules.ts";
import { GuestDiedError } from "./qemu.ts";

/** What a guest with a crash kernel needs: the memory that is set aside, and the rest. */
export const CRASH_APPEND = "crashkernel=160M no_timer_check";
export const CRASH_MEGABYTES = 416;
const DISK_BYTES = 2 ** 30;

/** The disk that the crash kernel writes to, as it lies beside the dump while the guest runs. */
export function crashDisk(folder: string): string {
  const path = join(folder, "disk.raw");
  const file = openSync(path, "w");
  ftruncateSync(file, DISK_BYTES);
  closeSync(file);
  return path;
}

/** Files that the first kernel needs to load the crash kernel: kexec, the kernel, the crash kernel's initramfs. */
export async function crashFiles(tree: ModuleTree, vmlinuz: string, busybox: Uint8Array): Promise<CpioEntry[]> {
  const { modules } = await tree.resolve(["virtio_pci", "virtio_blk"]);
  const writer = await programFiles("makedumpfile", "makedumpfile");
  const crash = initramfs(busybox, modules, crashScript(modules), writer);
  return [
    ...(await programFiles("kexec", "kexec-tools")),
    { path: "boot", mode: 0o040755 },
    { path: "boot/vmlinuz", mode: 0o100644, data: readFileSync(vmlinuz) },
    { path: "boot/crash.gz", mode: 0o100644, data: crash },
  ];
}

/** The crash kernel's init: it writes the dump and says how many bytes that were. */
function crashScript(modules: readonly GuestModule[]): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin; export PATH=/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for m in ${modules.map(({ name }) => name).join(" ")}; do insmod /mod/$m.ko; done
n=0; while [ $n -lt 60 ] && ! [ -b /dev/vda ]; do sleep 0.5; n=$((n+1)); done
count=$(makedumpfile -F -l -d 31 /proc/vmcore 2>/tmp/said | tee /dev/vda | wc -c)
tail -n 2 /tmp/said; sync
echo "@lab:written $count bytes"
poweroff -f
`;
}

/** The console line with which the crash kernel ends. */
export const WRITTEN = /@lab:written (\d*) bytes\r?\n/;

/** Puts what the crash kernel wrote in order: the dump at `path`. @throws GuestDiedError when it wrote nothing */
export function takeCrashDump(disk: string, serial: string, path: string): void {
  const bytes = Number(WRITTEN.exec(serial)?.[1] ?? 0);
  if (bytes < 4096) {
    const said = serial.slice(serial.lastIndexOf("Run /init"));
    throw new GuestDiedError(`the crash kernel wrote ${bytes} bytes: ${lastLines(said, 20)}`);
  }
  truncateSync(disk, bytes);
  rearrange(disk, path);
  rmSync(disk);
}

/** A program of this machine with the libraries that its loader wants, at their own places. */
async function programFiles(name: string, debian: string): Promise<CpioEntry[]> {
  const path = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].map((folder) => join(folder, name)).find(existsSync);
  if (path === undefined) throw new LabError(`${name} is not installed; try: apt-get install ${debian}`);
  const { stdout } = await run("ldd", [path], { timeoutSeconds: 20 });
  const libraries = [...stdout.toString().matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, library]) => library);
  const folders = new Set<string>();
  for (const library of libraries) {
    const parts = library.split("/").slice(1, -1);
    for (let i = 1; i <= parts.length; i++) folders.add(parts.slice(0, i).join("/"));
  }
  return [
    ...[...folders].map((folder) => ({ path: folder, mode: 0o040755 })),
    ...libraries.map((library) => ({ path: library.slice(1), mode: 0o100755, data: readFileSync(library) })),
    { path: `bin/${name}`, mode: 0o100755, data: readFileSync(path) },
  ];
}
