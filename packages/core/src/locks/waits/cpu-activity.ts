// Which CPUs may hold a spinlock: one in user mode or in its idle loop has none, since a spinlock's holder neither sleeps
// nor returns to user mode.
import { virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { machineOf } from "../../kernel/machine.ts";
import { TextRanges } from "../../tasks/stack-scan.ts";

/** Where idle CPUs stand: HLT, MWAIT, and the loops around them. */
const IDLE =
  /^(default_idle|native_safe_halt|pv_native_safe_halt|native_halt|acpi_safe_halt|acpi_idle|amd_e400_idle|mwait_idle|intel_idle|poll_idle|cpu_idle|do_idle|xen_safe_halt|arch_cpu_idle|tdx_safe_halt|cpuidle_|poll_idle)/;
/** A shut down or offline CPU. */
const DEAD =
  /^(play_dead|native_play_dead|hlt_play_dead|mwait_play_dead|stop_this_cpu|crash_nmi_callback|shutdown_nop)/;

/** True when the dump has the registers of every online CPU, and none of them can be inside a locked region. */
export function nobodyHolds(kernel: Kernel): boolean {
  const { cpus } = kernel.dump;
  if (!registersOfAll(kernel)) return false;
  const text = new TextRanges(kernel);
  return cpus.every(({ started, registers: { rip, cs } }) => {
    if (started === false) return true;
    if (!text.has(rip)) return (cs & 3) === 3;
    const name = kernel.symbols.nearest(virtualAddress(rip))?.symbol.name.replace(/^_+/, "") ?? "";
    return IDLE.test(name) || DEAD.test(name);
  });
}

/** True when the dump has the registers of every online CPU. */
export function registersOfAll(kernel: Kernel): boolean {
  return unknownCpus(kernel) === 0;
}

/** Online CPUs whose registers the dump does not have; Infinity when it is not known which CPUs are online. */
export function unknownCpus(kernel: Kernel): number {
  const { online } = machineOf(kernel);
  if (online.length === 0 || kernel.dump.cpus.length === 0) return Number.POSITIVE_INFINITY;
  const known = new Set(kernel.dump.cpus.map(({ index }) => index));
  return online.filter((cpu) => !known.has(cpu)).length;
}
