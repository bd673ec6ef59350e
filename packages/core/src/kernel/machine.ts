// The machine as the kernel saw it: CPUs, hypervisor, command line.

import { PalimpsestError } from "../bytes/errors.ts";
import { readOnline } from "./cpus/online.ts";
import { kept } from "./kept.ts";
import type { Kernel } from "./kernel.ts";

export interface Machine {
  /** nr_cpu_ids */
  readonly possible: number | undefined;
  /** numbers of online CPUs; none when the kernel contradicts itself (a problem of the kernel then) */
  readonly online: readonly number[];
  /** "KVM", "Xen HVM", "Xen PVH" …; "none found" for bare metal; undefined when the kernel does not tell */
  readonly hypervisor: string | undefined;
  /** saved_command_line */
  readonly commandLine: string | undefined;
}

const NAMES: Readonly<Record<string, string>> = {
  X86_HYPER_NATIVE: "none (bare metal, or one that the kernel does not know)",
  X86_HYPER_VMWARE: "VMware",
  X86_HYPER_MS_HYPERV: "Microsoft Hyper-V",
  X86_HYPER_XEN_PV: "Xen PV",
  X86_HYPER_XEN_HVM: "Xen HVM",
  X86_HYPER_KVM: "KVM",
  X86_HYPER_JAILHOUSE: "Jailhouse",
  X86_HYPER_ACRN: "ACRN",
  X86_HYPER_BHYVE: "bhyve",
};
/** CPUs of a kernel at most; a larger count is not believed. */
const MAX_CPUS = 8192;

/** Reads it once a kernel. */
export function machineOf(kernel: Kernel): Machine {
  return kept(kernel, read);
}

function attempt<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

/** A PVH guest is of the HVM type to the kernel; `bool xen_pvh` (arch/x86/xen/enlighten_pvh.c, since 4.11) tells it apart. */
function isPvh(kernel: Kernel): boolean {
  const flag = kernel.find("xen_pvh");
  return flag !== undefined && attempt(() => kernel.memory.u8(flag)) === 1;
}

function read(kernel: Kernel): Machine {
  const { memory } = kernel;
  const told = attempt(() => memory.u32(kernel.address("nr_cpu_ids")));
  const possible = told !== undefined && told >= 1 && told <= MAX_CPUS ? told : undefined;
  const online = attempt(() => readOnline(kernel.dump, kernel).cpus) ?? [];
  const hypervisor = attempt(() => {
    const old = kernel.find("x86_hyper");
    if (old !== undefined) {
      // const struct hypervisor_x86 *x86_hyper: {const char *name; …} until 4.14 (03b2a320b19f made it an enum)
      const chosen = memory.pointer(old);
      if (chosen === 0n) return NAMES.X86_HYPER_NATIVE;
      const name = memory.cstring(memory.pointer(chosen), 32);
      return /^[\x20-\x7e]+$/.test(name) ? name : undefined;
    }
    const value = BigInt(memory.u32(kernel.address("x86_hyper_type")));
    for (const [name, number] of kernel.types.enumerators("x86_hypervisor_type") ?? []) {
      if (number !== value) continue;
      return name === "X86_HYPER_XEN_HVM" && isPvh(kernel) ? "Xen PVH" : (NAMES[name] ?? name);
    }
    return undefined;
  });
  const commandLine = attempt(() => memory.cstring(memory.pointer(kernel.address("saved_command_line")), 4096));
  return { possible, online, hypervisor, commandLine };
}
