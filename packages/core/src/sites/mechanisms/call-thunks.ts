// Call depth tracking (X86_FEATURE_CALL_DEPTH, retbleed=stuff; 6.2 and newer): calls in .call_sites are led into the
// padding in front of their function, where a counting sequence is written (arch/x86/kernel/callthunks.c).
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { kept } from "../../kernel/kept.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { branchAt, branchEnd, LONGEST_BRANCH } from "../../x86/branch.ts";
import { branch32, CALL, getI32, putI32 } from "../../x86/encode.ts";
import { shapes } from "../../x86/instructions.ts";
import { altLayout, readAltTable } from "../base/alt-table.ts";
import { findTable, type Mechanism, nameOf, placesOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { SiteArrays } from "../base/site.ts";

const LENGTH = 5;
const NOP = 0x90;
/** MAX_PATCH_LEN */
const MAX_TEMPLATE = 254;
/** Padding ends on CONFIG_FUNCTION_ALIGNMENT, which is no smaller in any build with this mechanism. */
const ALIGNMENT = 16;
/** skip_addr(): functions that count for themselves or must not be counted. */
const SKIPPED = [
  "error_entry",
  "paranoid_entry",
  "xen_error_entry",
  "__switch_to_asm",
  "ret_from_fork",
  "ret_from_fork_asm",
  "soft_restart_cpu",
  "__fentry__",
];
/** KEXEC_CONTROL_CODE_MAX_SIZE */
const RELOCATE_KERNEL = 2048;

type Range = readonly [start: KernelOffset, end: KernelOffset];

/** The counting sequence of this kernel, and the functions before which it may stand. */
class Counting {
  /** bytes of the sequence; 0 when the dump does not have it */
  readonly size: number;
  private readonly skipped: ReadonlySet<KernelOffset>;
  private readonly relocateKernel: Range;
  private readonly core: Range;
  private readonly modules: readonly Range[];
  /** where the sequence has RIP-relative operands, and what they would be at address 0 */
  private readonly operands: readonly (readonly [index: number, displacement: number])[];

  constructor(
    kernel: Kernel,
    symbol: (name: string) => KernelOffset | undefined,
    private readonly template: Uint8Array,
    from: KernelOffset,
  ) {
    this.size = template.length;
    this.operands = shapes(template).flatMap((shape) => {
      if (shape.ripDisplacement === undefined) return [];
      const index = shape.at + shape.ripDisplacement;
      return [[index, getI32(template, index) + from] as const];
    });
    this.skipped = new Set(SKIPPED.map((name) => symbol(name)).filter((at) => at !== undefined));
    const start = symbol("__relocate_kernel_start") ?? symbol("relocate_kernel") ?? -1;
    this.relocateKernel = [start, symbol("__relocate_kernel_end") ?? start + RELOCATE_KERNEL];
    this.core = [symbol("_text") ?? symbol("_stext") ?? 0, symbol("_etext") ?? 0];
    this.modules = kernel.modules.flatMap((module) => {
      const base = toKernelOffset(module.text.base);
      return base === undefined ? [] : [[base, base + module.text.size] as const];
    });
  }

  /** is_coretext() and not skip_addr() */
  mayCount(func: KernelOffset): boolean {
    const isIn = ([start, end]: Range): boolean => func >= start && func < end;
    if (this.skipped.has(func) || isIn(this.relocateKernel)) return false;
    return isIn(this.core) || this.modules.some(isIn);
  }

  isCore(at: KernelOffset): boolean {
    return at >= this.core[0] && at < this.core[1];
  }

  /** The sequence as it runs at `pad`. */
  at(pad: KernelOffset): Uint8Array {
    const bytes = this.template.slice();
    for (const [index, displacement] of this.operands) putI32(bytes, index, displacement - pad);
    return bytes;
  }

  /** True when exactly the sequence stands at `index` of bytes that begin at `start`. */
  standsIn(bytes: Uint8Array, index: number, start: KernelOffset): boolean {
    if (bytes[index] !== this.template[0]) return false;
    const sequence = this.at(start + index);
    for (let i = 0; i < this.size; i++) if (bytes[index + i] !== sequence[i]) return false;
    return true;
  }
}

/** skl_call_thunk_template … skl_call_thunk_tail as the dump has it (.rodata, never patched). */
function countingOf(context: SiteContext): Counting {
  return kept(context.kernel, readCounting, context.problems);
}

function readCounting(kernel: Kernel, problems: string[]): Counting {
  const symbol = (name: string): KernelOffset | undefined => {
    const address = kernel.find(name);
    return address === undefined ? undefined : toKernelOffset(address);
  };
  const start = symbol("skl_call_thunk_template") ?? 0;
  const size = (symbol("skl_call_thunk_tail") ?? 0) - start;
  const bytes = size > 0 && size <= MAX_TEMPLATE ? kernel.memory.tryRead(fromKernelOffset(start), size) : undefined;
  if (bytes === undefined) problems.push("skl_call_thunk_template is not in the dump: calls are not counted");
  return new Counting(kernel, symbol, bytes ?? new Uint8Array(), start);
}

function isNops(bytes: Uint8Array, from: number, length: number): boolean {
  for (let i = from; i < from + length; i++) if (bytes[i] !== NOP) return false;
  return true;
}

/**
 * patch_dest(): the padding in front of `dest` that counts, written where this object has it. Undefined when there is
 * no such padding: the call then stays.
 */
function countingPad(context: SiteContext, dest: KernelOffset, id: number): KernelOffset | undefined {
  const counting = countingOf(context);
  const { size } = counting;
  if (size === 0 || !counting.mayCount(dest)) return undefined;
  const pad = dest - size;
  const region = context.space.find(pad, size);
  if (region !== undefined) {
    const index = pad - region.start;
    if (counting.standsIn(region.intended, index, region.start)) return pad;
    if (!isNops(region.intended, index, size)) return undefined;
    context.space.write(pad, counting.at(pad), id);
    return pad;
  }
  // In another object: what stands there now tells whether its padding was fit for it.
  const found = context.kernel.memory.tryRead(fromKernelOffset(pad), size);
  return found !== undefined && counting.standsIn(found, 0, pad) ? pad : undefined;
}

/** callthunks_translate_call_dest(): where a static call to `func` is led. */
export function callThunkTarget(context: SiteContext, func: KernelOffset): KernelOffset {
  if (!context.state.callDepth) return func;
  return countingPad(context, func, mechanismId("call-thunks")) ?? func;
}

/**
 * 7.x patches calls before alternatives, and lists calls in replacement text too; 6.2 … 6.12 after them, and walk the
 * places of alternatives besides the table.
 */
export function callsComeFirst(context: SiteContext): boolean {
  const told = context.era?.callsFirst ?? callOrder(context);
  return told ?? context.kernel.find("smp_text_poke_single") !== undefined;
}

/** What the object's own tables tell of it; undefined for an object without calls or replacement text. */
export function callOrder(context: SiteContext): boolean | undefined {
  const table = findTable(context.object, ".call_sites", "__call_sites", "__call_sites_end");
  const replacements = context.object.section(".altinstr_replacement");
  if (table === undefined || replacements === undefined) return undefined;
  const end = replacements.start + replacements.bytes.length;
  return placesOf(table).some((at) => at >= replacements.start && at < end);
}

export const applyCallThunks: Mechanism = (context) => {
  if (!context.state.callDepth) return undefined;
  const table = findTable(context.object, ".call_sites", "__call_sites", "__call_sites_end");
  const { space, object } = context;
  const id = mechanismId("call-thunks");
  if (table === undefined) {
    // An object without calls has functions all the same, which others call.
    adoptPads(context, id);
    return undefined;
  }
  const counting = countingOf(context);
  const places = placesOf(table);
  const sites = new SiteArrays(places.length);
  const isCore = object.name === "vmlinux";
  const patch = (at: KernelOffset): void => {
    // within_coretext(): init text and the core's replacement text are left alone.
    if (isCore && !counting.isCore(at)) return;
    const region = space.find(at, LENGTH);
    const call = region && branchAt(region.intended.subarray(at - region.start, at - region.start + LONGEST_BRANCH));
    if (call?.kind !== "call") return;
    const pad = countingPad(context, branchEnd(call, at), id);
    // 5 bytes, whatever prefixes the call had.
    if (pad !== undefined) space.write(at, branch32(CALL, at, pad), id);
  };
  for (const at of places) {
    sites.add(at, LENGTH);
    patch(at);
  }
  if (!callsComeFirst(context)) for (const at of alternativePlaces(context)) patch(at);
  adoptPads(context, id);
  return {
    mechanism: "call-thunks",
    object: object.name,
    entries: places.length,
    table: `${table.name} (4-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const at = sites.offsets[index];
      const built = space.readBuilt(at, LENGTH);
      const call = built && branchAt(built);
      return {
        slot: { name: "X86_FEATURE_CALL_DEPTH", value: "set" },
        reason:
          call?.kind === "call"
            ? `calls of ${nameOf(context, branchEnd(call, at))} are counted in the padding in front of it`
            : "no call stands here any more",
        forms: built === undefined ? [] : [{ name: "call left as built: not counted", bytes: built }],
        callsFunctions: true,
      };
    },
  };
};

/** patch_alt_call_sites(): calls that alternatives have put in place. */
function alternativePlaces(context: SiteContext): KernelOffset[] {
  const section = findTable(context.object, ".altinstructions", "__alt_instructions", "__alt_instructions_end");
  const layout = section && altLayout(context, section);
  return section === undefined || layout === undefined ? [] : Array.from(readAltTable(section, layout).instr);
}

/**
 * Functions that only other objects call, or static calls, got their counting sequence at another time than this
 * object's own calls, and keep it when the caller is gone: padding that holds exactly that sequence has it.
 */
function adoptPads(context: SiteContext, id: number): void {
  const counting = countingOf(context);
  const { size } = counting;
  if (size === 0) return;
  for (const region of context.space.regions) {
    if (!region.audited || region.built.length < size) continue;
    const found = new Uint8Array(region.built.length);
    context.kernel.memory.readPresent(fromKernelOffset(region.start), found, () => {});
    const first = (ALIGNMENT - (region.start % ALIGNMENT)) % ALIGNMENT;
    for (let func = first; func < found.length; func += ALIGNMENT) {
      const index = func - size;
      if (index < 0 || region.intended[index] !== NOP || found[index] === NOP) continue;
      if (!isNops(region.intended, index, size) || !counting.standsIn(found, index, region.start)) continue;
      context.space.write(region.start + index, counting.at(region.start + index), id);
    }
  }
}
