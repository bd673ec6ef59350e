// What the kernel keeps about itself as a whole: its clock, load, taint, memory, name. Each is read alone, and unknown where it
// cannot be.
import { addressAdd, type VirtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "./kernel.ts";
import { getU64 } from "./layouts/little-endian.ts";

/**
 * Bits of `unsigned long tainted_mask` (kernel/panic.c, taint_flags; Documentation/admin-guide/tainted-kernels.rst of 6.15).
 * Bits never changed their meaning; later kernels have more of them.
 */
const TAINTS: readonly (readonly [letter: string, meaning: string])[] = [
  ["P", "a proprietary module was loaded"],
  ["F", "a module was loaded by force"],
  ["S", "the CPU or system is out of specification"],
  ["R", "a module was unloaded by force"],
  ["M", "a machine check happened"],
  ["B", "a page was found in a bad state"],
  ["U", "user space asked for it"],
  ["D", "the kernel has oopsed before"],
  ["A", "an ACPI table was overridden"],
  ["W", "a warning was given"],
  ["C", "a staging driver was loaded"],
  ["I", "a firmware bug is worked around"],
  ["O", "a module from outside of the tree was loaded"],
  ["E", "an unsigned module was loaded"],
  ["L", "a soft lockup happened"],
  ["K", "the kernel was live patched"],
  ["X", "the distribution's own mark"],
  ["T", "built with struct randomisation"],
  ["N", "an in-kernel test was run"],
  ["J", "user space changed a device's firmware"],
];

/** 1990 … 2200 in seconds: other values are no date. */
const EARLIEST = 631152000n;
const LATEST = 7258118400n;
const PAGE = 4096;

function attempt<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}

function u64(kernel: Kernel, address: VirtualAddress | undefined): bigint | undefined {
  const bytes = address && kernel.memory.tryRead(address, 8);
  return bytes && getU64(bytes, 0);
}

/** Letters that are set, lowest bit first; undefined when the kernel does not tell. A bit that has no letter here is "?". */
export function taintOf(kernel: Kernel): { letter: string; meaning: string }[] | undefined {
  const mask = u64(kernel, kernel.find("tainted_mask"));
  if (mask === undefined) return undefined;
  const out: { letter: string; meaning: string }[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (((mask >> BigInt(bit)) & 1n) === 0n) continue;
    const [letter, meaning] = TAINTS[bit] ?? ["?", `bit ${bit}, which is not known`];
    out.push({ letter, meaning });
  }
  return out;
}

/** unsigned long avenrun[3] (kernel/sched/loadavg.c): 1, 5 and 15 minutes, FSHIFT 11 bits behind the point. */
export function loadOf(kernel: Kernel): number[] | undefined {
  const at = kernel.find("avenrun");
  const bytes = at && kernel.memory.tryRead(at, 24);
  if (bytes === undefined) return undefined;
  const load = [0, 8, 16].map((offset) => Number(getU64(bytes, offset)) / 2048);
  return load.every((each) => each < 1e6) ? load : undefined;
}

/**
 * Seconds since 1970 of the kernel's clock: struct timekeeper.xtime_sec of `shadow_timekeeper` (3.17 to 6.12) or of the copy
 * inside `timekeeper_data` (6.13); struct timespec xtime before 3.3.
 */
export function clockOf(kernel: Kernel): bigint | undefined {
  const { structures: s } = kernel;
  const places: (VirtualAddress | undefined)[] = [];
  const inKeeper = s.find("struct timekeeper", "xtime_sec");
  if (inKeeper !== undefined) {
    for (const symbol of ["shadow_timekeeper", "timekeeper"]) {
      const keeper = kernel.find(symbol);
      places.push(keeper && addressAdd(keeper, inKeeper.offset));
    }
  }
  const inData = s.find("struct tk_data", "timekeeper.xtime_sec");
  const data = kernel.find("timekeeper_data");
  places.push(data && inData && addressAdd(data, inData.offset), kernel.find("xtime"));
  return places
    .map((place) => u64(kernel, place))
    .find((value) => value !== undefined && value > EARLIEST && value < LATEST);
}

/** init_uts_ns.name.nodename (struct new_utsname), "" where none is set. */
export function nodeOf(kernel: Kernel): string | undefined {
  const at = kernel.find("init_uts_ns");
  const { structures: s } = kernel;
  if (at === undefined || !s.has("struct uts_namespace", "name.nodename")) return undefined;
  return attempt(() => s.text(at, "struct uts_namespace", "name.nodename"));
}

/** char dmi_ids_string[128] (drivers/firmware/dmi_scan.c, 3.9) */
export function hardwareOf(kernel: Kernel): string | undefined {
  const at = kernel.find("dmi_ids_string");
  const text = at && attempt(() => kernel.memory.cstring(at, 128));
  return text !== undefined && /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}

/** Bytes of memory that the kernel manages: atomic_long_t _totalram_pages (5.0), unsigned long totalram_pages before. */
export function memoryOf(kernel: Kernel): number | undefined {
  const pages = u64(kernel, kernel.find("_totalram_pages") ?? kernel.find("totalram_pages"));
  return pages === undefined || pages === 0n || pages > 1n << 40n ? undefined : Number(pages) * PAGE;
}
