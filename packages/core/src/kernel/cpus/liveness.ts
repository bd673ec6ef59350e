// Whether a dump was taken out of the running machine (makedumpfile of /proc/kcore): its pages are of different moments then,
// and what one page holds need not fit what another says.
import { kept } from "../kept.ts";
import type { Kernel } from "../kernel.ts";
import { getU32, getU64 } from "../layouts/little-endian.ts";
import { CpuPlaces } from "./cpu-places.ts";
import { crashNotes } from "./crash-notes.ts";

/** Notes of the kernel's own writers; a hypervisor writes ones of other names. */
const OWN_NOTES = new Set(["CORE", "LINUX", "VMCOREINFO", "VMCOREINFO_XEN", "GNU"]);
/** PANIC_CPU_INVALID (include/linux/panic.h, since 4.4). */
const NO_CPU = 0xffffffff;

/**
 * What shows that the machine ran on while the dump was written; undefined when nothing does. A hypervisor's dump holds the
 * registers of its vCPUs, a crash kernel's those that `crash_save_cpu()` left in memory: a file in these formats without
 * either was written by a process of the machine itself. Raw memory tells nothing.
 */
export function liveEvidence(kernel: Kernel): string | undefined {
  return kept(kernel, read);
}

function read(kernel: Kernel): string | undefined {
  const { dump, memory, symbols, structures } = kernel;
  // Both writers bring VMCOREINFO along; without it, or cut off, the file's notes may be lost.
  if (!/^(kdump|elf)/.test(dump.format) || dump.vmcoreinfo === undefined || dump.incomplete) return undefined;
  if (dump.cpus.length > 0 || dump.notes.some(({ name }) => !OWN_NOTES.has(name))) return undefined;
  // Registers that no CPU could be given to are registers all the same.
  const saved = dump.notes.filter(({ name, type }) => name === "CORE" && type === 1);
  if (saved.some(({ desc }) => desc.subarray(112).some((byte) => byte !== 0))) return undefined;
  const context = { memory, symbols, structures };
  const places = new CpuPlaces(context);
  const notes = crashNotes(context, places);
  const at = kernel.find("crash_notes");
  const pointer = at && memory.tryRead(at, 8);
  if (notes === undefined || notes.size > 0 || pointer === undefined) return undefined;
  for (let cpu = 0; cpu < places.possible; cpu++) {
    const copy = places.copyOf(getU64(pointer, 0), cpu);
    // A note that is not in the dump is not known to be empty.
    if (copy === undefined || memory.tryRead(copy, 12) === undefined) return undefined;
  }
  const panic = kernel.find("panic_cpu");
  const cpu = panic && memory.tryRead(panic, 4);
  if (cpu !== undefined && getU32(cpu, 0) !== NO_CPU) return undefined;
  return "no registers in the file or in crash_notes, no panic";
}
