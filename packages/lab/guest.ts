// The guest's side of a dump: its init script and initramfs, and what its lines on the serial console say. Lines for
// the lab begin with "@lab:"; the kernel's own messages run between them.
import { gzipSync } from "node:zlib";
import { type CpioEntry, writeCpio } from "./cpio.ts";
import { type GuestState, guestStates, panicOf, type StateName } from "./states.ts";

/** A module as the guest loads it: name without ".ko", and its ELF bytes. */
export interface GuestModule {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The init script: loads `modules` in order, brings `states` about, reports, and waits. */
export function initScript(modules: readonly string[], states: readonly StateName[]): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin; export PATH=/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
T=/sys/kernel/tracing; K=/sys/kernel/debug/kprobes/list; C=/sys/devices/system/cpu
mount -t tracefs t $T; mount -t debugfs g /sys/kernel/debug
say() { echo "@lab:$*"; }
check() { name=$1; shift; say "check $name $*"; }
probe() { name=$1; kind=$2; shift 2
  for place; do echo "$kind:$name $place" >> $T/kprobe_events 2>/dev/null && return 0; done; return 1; }
echo 7 > /proc/sys/kernel/printk
for m in ${modules.join(" ")}; do insmod /mod/$m.ko || say "failed $m"; done
echo 1 > /proc/sys/kernel/printk
${states.map((state) => guestStates[state].script).join("\n")}
while read -r name rest; do say "loaded $name"; done < /proc/modules
for f in $C/vulnerabilities/*; do say "vulnerability \${f##*/} $(cat $f)"; done
say "online $(cat $C/online)"
say "ready $(cut -d' ' -f1 /proc/uptime)"
${states.includes("toggle") ? "" : "echo 7 > /proc/sys/kernel/printk"}
${states.map((state) => (guestStates[state] as GuestState).after ?? "").join("\n")}
${panicOf(states) ?? ""}
(while :; do sleep 3600; done) & while :; do sleep 1000; done
`;
}

/** The compressed initramfs: busybox, the modules, the init script, and `more` behind the folders. */
export function initramfs(
  busybox: Uint8Array,
  modules: readonly GuestModule[],
  script: string,
  more: readonly CpioEntry[] = [],
): Uint8Array {
  const folders = ["bin", "proc", "sys", "dev", "mod", "tmp"].map((path) => ({ path, mode: 0o040755 }));
  const entries: CpioEntry[] = [
    ...folders,
    { path: "bin/busybox", mode: 0o100755, data: busybox },
    ...more,
    ...modules.map(({ name, bytes }) => ({ path: `mod/${name}.ko`, mode: 0o100644, data: bytes })),
    { path: "init", mode: 0o100755, data: Buffer.from(script) },
  ];
  return gzipSync(writeCpio(entries), { level: 1 });
}

/** What a guest said about itself. */
export interface GuestReport {
  readonly ready: boolean;
  /** Names of the modules in the kernel, newest first, as /proc/modules lists them. */
  readonly loaded: readonly string[];
  /** Modules that insmod refused. */
  readonly failed: readonly string[];
  /** /sys/devices/system/cpu/vulnerabilities: which mitigations this boot chose. */
  readonly vulnerabilities: Readonly<Record<string, string>>;
  /** CPUs online, as a range ("0-3"). */
  readonly online: string;
  /** State name → the words of its check. */
  readonly checks: Readonly<Record<string, string>>;
}

/** Reads the "@lab:" lines out of a serial log. */
export function readGuestReport(serial: string): GuestReport {
  const loaded: string[] = [];
  const failed: string[] = [];
  const vulnerabilities: Record<string, string> = {};
  const checks: Record<string, string> = {};
  let ready = false;
  let online = "";
  for (const [, key, first, rest] of serial.matchAll(/@lab:([a-z]+) (\S+)[ \t]*([^\r\n]*)/g)) {
    if (key === "loaded") loaded.push(first);
    else if (key === "failed") failed.push(first);
    else if (key === "vulnerability") vulnerabilities[first] = rest;
    else if (key === "check") checks[first] = rest.trim();
    else if (key === "online") online = first;
    else if (key === "ready") ready = true;
  }
  return { ready, loaded, failed, vulnerabilities, online, checks };
}

/** The states among `states` that did not take, with the guest's words; empty when all did. */
export function statesNotTaken(report: GuestReport, states: readonly StateName[]): string[] {
  return states
    .filter((state) => !guestStates[state].took.test(report.checks[state] ?? ""))
    .map((state) => `${state} (the guest said "${report.checks[state] ?? "nothing"}")`);
}
