// The guest's side on Xen: an init script that loads modules one by one, changes lock slots late when that is the
// experiment, and then beats: one line a second, from each vCPU in turn, so that one dead vCPU stops the beat.
import type { LateSwitch } from "./types.ts";

/** So long one vCPU holds the lock: emulated ones that share one CPU take a second or two to get tired of spinning. */
const HOLD_MILLISECONDS = 8000;

/** How many lines of the beat make a guest alive: every vCPU has had its turn. */
export function beatsWanted(vcpus: number): number {
  return 2 * vcpus + 4;
}

/**
 * The steps of the experiment: the slots are changed, a module with lock sites of its own is loaded, and then both vCPUs
 * want its lock. The repairs differ in what happens between; `sectionBytes` is the size of the module's table of sites.
 */
export function lateSteps({ to, repair }: LateSwitch, table: PatchTable | undefined): string {
  const p = "/sys/module";
  const back = `echo 1 > ${p}/late_switch/parameters/back; say "step slots-back $(cat ${p}/late_switch/parameters/back)"`;
  const swap = to === "native" ? " swap=1" : "";
  const again = table
    ? `echo "$(cat ${p}/late_user/sections/${table.section}) ${table.bytes}" > ${p}/late_switch/parameters/${table.parameter} && say "step patched-again 1" || say "step patched-again 0"`
    : 'say "step patched-again 0"';
  const between: Record<LateSwitch["repair"], readonly [before: string, after: string]> = {
    none: ["", ""],
    "slots-back": ["", back],
    "patched-again": ["", `${back}\n${again}`],
    "back-before-load": [back, ""],
  };
  const [before, after] = between[repair];
  return `insmod /mod/late_switch.ko kind=${to} && say "step switched ${to}" || say "step switched failed"
${before}
insmod /mod/late_user.ko contend=1 hold=1 hold_ms=${HOLD_MILLISECONDS} core_cpu=0 site_cpu=1${swap} && say "step loaded late_user" || say "step loaded failed"
${after}
echo 0 > ${p}/late_user/parameters/hold; say "step contend"
n=0; while [ $n -lt 60 ] && [ "$(cat ${p}/late_user/parameters/outcome)" = 0 ]; do sleep 1; n=$((n+1)); done
say "step outcome $(cat ${p}/late_user/parameters/outcome)"`;
}

/** The table from which the kernel patches a module's paravirt sites, and which of its patchers reads it. */
export interface PatchTable {
  readonly section: string;
  readonly bytes: number;
  readonly parameter: "paravirt";
}

/** The init script of a guest with these modules (in load order), `steps` before it says that it is ready. */
export function xenInitScript(modules: readonly string[], vcpus: number, steps: string): string {
  const masks = Array.from({ length: vcpus }, (_, cpu) => (1 << cpu).toString(16)).join(" ");
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin; export PATH=/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
say() { echo "@lab:$*"; }
echo 7 > /proc/sys/kernel/printk
say "init $(cut -d' ' -f1 /proc/uptime)"
for m in ${modules.join(" ")}; do say "loading $m"; insmod /mod/$m.ko || say "failed $m"; done
${steps}
while read -r name rest; do say "loaded $name"; done < /proc/modules
say "hypervisor $(cat /sys/hypervisor/type) $(cat /sys/hypervisor/guest_type)"
say "online $(cat /sys/devices/system/cpu/online)"
say "ready $(cut -d' ' -f1 /proc/uptime)"
n=0; while :; do for m in ${masks}; do taskset -p $m $$ >/dev/null; n=$((n+1)); say "beat $n $m"; sleep 1; done; done
`;
}
