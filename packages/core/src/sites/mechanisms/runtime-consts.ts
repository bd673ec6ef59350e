// Runtime constants: immediates in the core's text that runtime_const_init() fills with a variable's boot-time value
// (arch/x86/include/asm/runtime-const.h, since 6.11): 64-bit pointers, shift counts, and 32-bit masks since 7.3.

import type { BuiltSection } from "../../built/object.ts";
import { fromKernelOffset, type KernelOffset, virtualAddress } from "../../bytes/brand.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { hexBytes } from "../../x86/encode.ts";
import { type Mechanism, placesOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { SiteArrays } from "../base/site.ts";

const KINDS = { ptr: 8, shift: 1, mask: 4 } as const;
type Kind = keyof typeof KINDS;
const NAME = /^runtime_(ptr|shift|mask)_(\w+)$/;

interface Constant {
  readonly kind: Kind;
  readonly variable: string;
  readonly section: BuiltSection;
}

/**
 * The value that the sites must hold: that of the variable, when kallsyms knows it; else the one that most sites of the
 * dump agree on (several were optimised away as variables, so their only copies are in the text).
 */
function constantValue(
  context: SiteContext,
  constant: Constant,
  places: Uint32Array,
): { bytes: Uint8Array; source: string } | undefined {
  const size = KINDS[constant.kind];
  const address = context.kernel.find(constant.variable);
  if (address !== undefined) {
    const stored = context.kernel.memory.tryRead(virtualAddress(address), constant.kind === "ptr" ? 8 : 4);
    if (stored !== undefined) {
      const bytes = constant.kind === "shift" ? Uint8Array.of(stored[0] & 0x1f) : stored.slice(0, size);
      return { bytes, source: `the variable ${constant.variable}` };
    }
  }
  const votes = new Map<string, { count: number; bytes: Uint8Array }>();
  for (const at of places) {
    if (context.space.find(at, size) === undefined) continue;
    const found = context.kernel.memory.tryRead(fromKernelOffset(at), size);
    if (found === undefined) continue;
    const key = hexBytes(found);
    const vote = votes.get(key) ?? { count: 0, bytes: found };
    vote.count++;
    votes.set(key, vote);
  }
  // A site left as built votes only when nothing else does, and a pointer must lead to memory.
  const built = context.space.readBuilt(places[0], size);
  const credible = (bytes: Uint8Array): boolean => {
    if (built !== undefined && hexBytes(bytes) === hexBytes(built)) return false;
    if (constant.kind !== "ptr") return true;
    const pointer = getU64(bytes, 0);
    return context.kernel.memory.tryTranslate(virtualAddress(pointer)) !== undefined;
  };
  const ranked = [...votes.values()].sort((a, b) => b.count - a.count);
  const best = ranked.find((vote) => credible(vote.bytes)) ?? ranked[0];
  return (
    best && { bytes: best.bytes, source: `${best.count} of ${places.length} sites agree (the variable has no symbol)` }
  );
}

export const applyRuntimeConsts: Mechanism = (context) => {
  const { object, space } = context;
  const constants: Constant[] = [];
  for (const name of object.sectionNames()) {
    const match = NAME.exec(name);
    const section = match && object.section(name);
    if (match && section) constants.push({ kind: match[1] as Kind, variable: match[2], section });
  }
  if (constants.length === 0) return undefined;
  const id = mechanismId("runtime-consts");
  const sites = new SiteArrays(256);
  const owner: { constant: Constant; source: string; bytes: Uint8Array }[] = [];
  for (const constant of constants) {
    const places = placesOf(constant.section);
    const value = constantValue(context, constant, places);
    if (value === undefined) {
      for (const at of places) space.forget(at, KINDS[constant.kind], "runtime-consts", constant.variable);
      continue;
    }
    for (const at of places) {
      sites.add(at as KernelOffset, KINDS[constant.kind]);
      owner.push({ constant, source: value.source, bytes: value.bytes });
      const current = space.read(at, value.bytes.length);
      if (current !== undefined) space.write(at, value.bytes, id);
    }
  }
  return {
    mechanism: "runtime-consts",
    object: object.name,
    entries: sites.count,
    table: constants.map((c) => c.section.name).join(", "),
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const { constant, source, bytes } = owner[index];
      const at = sites.offsets[index];
      const built = space.readBuilt(at, bytes.length);
      return {
        slot: { name: constant.variable, value: hexBytes(bytes.slice().reverse()).replaceAll(" ", "") },
        reason: `${constant.kind} of ${constant.variable}, by ${source}`,
        forms: built ? [{ name: "runtime constant left as built", bytes: built }] : [],
      };
    },
  };
};
