// Physical memory as it is, from address 0 on: QEMU's pmemsave, dd of /dev/mem, LiME's "padded" and "raw" forms. Nothing in
// the file says so; a kernel's banner in it does.
import type { ByteSource } from "../../bytes/source.ts";
import { describeFile, hasKnownMagic } from "../identify.ts";
import { scanPhysical } from "../scan.ts";
import { type Dump, PAGE_SIZE } from "../types.ts";
import { FileRunMemory } from "./file-runs.ts";

/** No machine that runs an x86-64 Linux has less memory. */
const SMALLEST = 16 << 20;
const BANNER = new TextEncoder().encode("Linux version ");

/** The dump, or why the file is none: what it looks like. */
export function openRaw(source: ByteSource): Dump | string {
  const what = describeFile(source);
  if (hasKnownMagic(source) || source.size < SMALLEST || source.size % PAGE_SIZE !== 0) return what;
  const dump: Dump = {
    path: source.name,
    format: "raw",
    size: source.size,
    physical: new FileRunMemory(source, [{ physical: 0, offset: 0, length: source.size }]),
    cpus: [],
    notes: [],
    segments: [],
    incomplete: false,
    problems: [],
  };
  if (scanPhysical(dump, BANNER, { limit: 1 }).length > 0) return dump;
  return `${what}; as raw memory it holds no "Linux version" banner`;
}
