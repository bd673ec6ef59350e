// The kernel's log out of its own buffer, whichever of the three kinds this kernel has: told by the variables that only
// that kind has. What was overwritten is gone; what a dump lacks or what is damaged is counted and told.
import { MissingError } from "../../bytes/errors.ts";
import type { Kernel } from "../kernel.ts";
import { readCharLog } from "./log-chars.ts";
import { readRecordLog } from "./log-records.ts";
import { readRingLog } from "./log-ring.ts";
import type { KernelLog } from "./log-types.ts";

export type { KernelLog, LogRecord } from "./log-types.ts";

/**
 * @throws MissingError when no variable of a log is known, AddressError when these are not in the dump, FormatError when they
 *   hold what no kernel writes
 */
export function readKernelLog(kernel: Kernel): KernelLog {
  // 896fbe20b4e2, 5.10
  if (kernel.find("prb") !== undefined) return readRingLog(kernel);
  // 7ff9554bb578, 3.5
  if (kernel.find("log_first_idx") !== undefined) return readRecordLog(kernel);
  if (kernel.find("log_end") !== undefined) return readCharLog(kernel);
  throw new MissingError(
    "every variable of the kernel's log (prb, log_first_idx or log_end)",
    "kernels without CONFIG_PRINTK have none; one whose kallsyms has no variables needs its vmlinux with --image",
  );
}
