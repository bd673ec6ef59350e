// What every mechanism is given, and the shared readers of site tables.

import type { BuiltObject, BuiltSection } from "../../built/object.ts";
import { fromKernelOffset, type KernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { nameAddress } from "../../symbols/place.ts";
import { getI32 } from "../../x86/encode.ts";
import type { Era } from "./era.ts";
import type { MechanismName } from "./mechanisms.ts";
import type { PatchSpace } from "./patch-space.ts";
import type { PatchState } from "./patch-state.ts";
import type { SiteList, UnknownPart } from "./site.ts";

export interface SiteContext {
  readonly kernel: Kernel;
  readonly object: BuiltObject;
  readonly space: PatchSpace;
  readonly state: PatchState;
  /** Told by all objects together; without it (one mechanism tried alone) the object tells for itself. */
  readonly era?: Era;
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

/** How the entries of a table are laid out. */
export interface EntryForm {
  readonly mechanism: MechanismName;
  /** bytes of an entry */
  readonly size: number;
  /** "struct static_call_site": what the type table calls an entry, when it is a structure */
  readonly type?: string;
}

/**
 * The same for a table of entries of a fixed size. One whose size is no multiple of it, or whose entries the kernel's own
 * types say are of another size, is told as unknown, and undefined is returned.
 */
export function findSiteTable(
  context: SiteContext,
  entry: EntryForm,
  section: string,
  start?: string,
  stop?: string,
): BuiltSection | undefined {
  const table = findTable(context.object, section, start, stop);
  if (table === undefined) return undefined;
  const size = entry.type === undefined ? undefined : context.kernel.types.sizeOf(entry.type);
  const rest = table.bytes.length % entry.size;
  if (rest === 0 && (size === undefined || size === entry.size)) return table;
  const what =
    size !== undefined && size !== entry.size
      ? `${section}: entries of ${size} bytes, ${entry.size} are known`
      : `${section}: ${table.bytes.length} bytes are no whole number of ${entry.size}-byte entries`;
  context.unknown.push({
    id: "unknown.table",
    mechanism: entry.mechanism,
    object: context.object.name,
    address: fromKernelOffset(table.start),
    length: table.bytes.length,
    what,
  });
  return undefined;
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
  return nameAddress(kernel.allSymbols, fromKernelOffset(offset));
}
