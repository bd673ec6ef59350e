// `log`: the kernel's log, as dmesg would have printed it.
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { formatAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type LogRecord, readKernelLog } from "../kernel/log/log.ts";
import type { LogLine, LogResult } from "../results/log-results.ts";

export interface LogOptions {
  /** least urgent level, 0 … 7 */
  readonly level?: number;
  /** how many of the newest; 0 for all */
  readonly last?: number;
}

export function logOf(kernel: Kernel, chosen: LogOptions = {}): LogResult {
  const read = readKernelLog(kernel);
  const { level, last = 0 } = chosen;
  const wanted = level === undefined ? read.records : read.records.filter((each) => (each.level ?? 0) <= level);
  const shown = last === 0 ? wanted : wanted.slice(-last);
  return {
    schema: "palimpsest/log/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    buffer: { kind: read.kind, address: formatAddress(read.address), bytes: read.size },
    messages: shown.map(lineOf),
    leftOut: read.records.length - shown.length,
    complete: read.complete,
    notes: [...read.problems, ...kernel.problems],
  };
}

function lineOf({ sequence, nanoseconds, level, facility, caller, text, continues, ...more }: LogRecord): LogLine {
  return {
    sequence: sequence === undefined ? null : Number(sequence),
    time: nanoseconds === undefined ? null : seconds(nanoseconds),
    level: level ?? null,
    facility: facility ?? null,
    caller: caller === undefined ? null : caller >= 0x80000000 ? `C${caller - 0x80000000}` : `T${caller}`,
    text,
    continues,
    ...more,
  };
}

function seconds(nanoseconds: bigint): string {
  return `${nanoseconds / 1_000_000_000n}.${(nanoseconds % 1_000_000_000n).toString().padStart(9, "0")}`;
}
