// What every mechanism is given, and the shared readers of site tables.

import type { BuiltObject, BuiltSection } from "../built/object.ts";
import type { KernelOffset } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { getI32 } from "../x86/encode.ts";
import type { PatchSpace } from "./patch-space.ts";
import type { PatchState } from "./patch-state.ts";
import type { SiteList, UnknownPart } from "./site.ts";

export interface SiteContext {
  readonly kernel: Kernel;
  readonly object: BuiltObject;
  readonly space: PatchSpace;
  readonly state: PatchState;
  /** What could not be read, in plain words. */
  readonly problems: string[];
  /** What this object has and Palimpsest does not know. */
  readonly unknown: UnknownPart[];
}

/** Replays one mechanism on the object. Undefined when the object has no site of it. */
export type Mechanism = (context: SiteContext) => SiteList | undefined;

/** A table by its section name in modules and small sections of vmlinux, or between two linker symbols. */
export function findTable(
  object: BuiltObject,
  section: string,
  start?: string,
  stop?: string,
): BuiltSection | undefined {
  const bySection = object.section(section);
  if (bySection !== undefined && bySection.bytes.length > 0) return bySection;
  return start !== undefined && stop !== undefined ? object.between(start, stop) : undefined;
}

/** The places that a table of s32, each relative to its own position, points to. */
export function placesOf(table: BuiltSection): Uint32Array {
  const count = Math.floor(table.bytes.length / 4);
  const out = new Uint32Array(count);
  for (let i = 0; i < count; i++) out[i] = table.start + i * 4 + getI32(table.bytes, i * 4);
  return out;
}

/** "symbol+0x10" for a KernelOffset. */
export function nameOf(context: SiteContext, offset: KernelOffset): string {
  return nearestName(context.kernel, offset);
}

/** "symbol+0x10 [module]" for a KernelOffset, or its address. */
export function nearestName(kernel: Kernel, offset: KernelOffset): string {
  const address = 0xffffffff80000000n + BigInt(offset);
  const near = kernel.allSymbols.nearest(address as Parameters<typeof kernel.allSymbols.nearest>[0]);
  if (near === undefined) return `0x${address.toString(16)}`;
  const plus = near.offset === 0 ? "" : `+0x${near.offset.toString(16)}`;
  return near.symbol.module === undefined
    ? `${near.symbol.name}${plus}`
    : `${near.symbol.name}${plus} [${near.symbol.module}]`;
}
