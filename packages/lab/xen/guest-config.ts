// The configuration file of a domain, as xl.cfg(5) has it.
import type { XenGuest } from "./types.ts";

/** Options that a caller's own lines take the place of. */
type Lines = Map<string, string>;

const quoted = (text: string) => `"${text.replaceAll('"', '\\"')}"`;

/**
 * The xl configuration of a guest whose kernel and initramfs lie in `folder` of dom0. Every end of the domain is
 * preserved, so that its memory can be had; the TSC is the emulator's own, which is what lets PVH guests go on.
 */
export function guestConfig(guest: XenGuest, folder: string): string {
  const lines: Lines = new Map([
    ["name", quoted(guest.name)],
    ["type", quoted(guest.type)],
    ["memory", String(guest.memoryMegabytes)],
    ["maxmem", String(guest.memoryMegabytes)],
    ["vcpus", String(guest.vcpus)],
    ["kernel", quoted(`${folder}/vmlinuz`)],
    ["ramdisk", quoted(`${folder}/initrd.gz`)],
    ["cmdline", quoted(guestCommandLine(guest.append))],
    ["tsc_mode", quoted("native")],
    ["on_crash", quoted("preserve")],
    ["on_reboot", quoted("preserve")],
    ["on_poweroff", quoted("preserve")],
  ]);
  if (guest.type === "hvm") {
    for (const [key, value] of [
      ["xen_platform_pci", "1"],
      ["hap", "1"],
      ["vga", '"none"'],
      ["nographic", "1"],
      ["serial", '"none"'],
      ["usb", "0"],
      ["sdl", "0"],
      ["vnc", "0"],
    ])
      lines.set(key, value);
  }
  for (const line of guest.config) {
    const [, key, value] = /^\s*([a-z_0-9]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (key) lines.set(key, value);
  }
  return `${[...lines].map(([key, value]) => `${key}=${value}`).join("\n")}\n`;
}

/** A stall report a minute would look like life on the console of a guest that hangs. */
function guestCommandLine(append: string): string {
  return `console=hvc0 earlyprintk=xen panic=-1 rcupdate.rcu_cpu_stall_suppress=1 ${append}`.trim();
}
