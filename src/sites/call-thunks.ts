// Call depth tracking (X86_FEATURE_CALL_DEPTH, retbleed=stuff; 6.2 and newer): calls in .call_sites are led into the
// padding in front of their function, where a counting sequence is written (arch/x86/kernel/callthunks.c).
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../bytes/brand.ts";
import { branch32, CALL, rel32Target } from "../x86/encode.ts";
import { mergeNops, relocateReplacement } from "./alt-relocate.ts";
import { altLayout, readAltTable } from "./alt-table.ts";
import { findTable, type Mechanism, nameOf, placesOf, type SiteContext } from "./context.ts";
import { mechanismId } from "./mechanisms.ts";
import { SiteArrays } from "./site.ts";

const LENGTH = 5;
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

interface Template {
  readonly at: KernelOffset;
  readonly bytes: Uint8Array;
}

const templates = new WeakMap<object, Template | null>();

/** skl_call_thunk_template … skl_call_thunk_tail as the dump has it (.rodata, never patched). */
function templateOf(context: SiteContext): Template | undefined {
  const { kernel, state } = context;
  let template = templates.get(kernel);
  if (template === undefined) {
    const start = state.symbol("skl_call_thunk_template");
    const end = state.symbol("skl_call_thunk_tail");
    const bytes =
      start === undefined || end === undefined || end <= start || end - start > 64
        ? undefined
        : kernel.memory.tryRead(fromKernelOffset(start), end - start);
    template = start === undefined || bytes === undefined ? null : { at: start, bytes };
    templates.set(kernel, template);
  }
  return template ?? undefined;
}

/** The counting sequence made to run at `pad`. */
function countingBytes(context: SiteContext, template: Template, pad: KernelOffset): Uint8Array {
  const bytes = template.bytes.slice();
  relocateReplacement(bytes, bytes.length, pad, template.at, bytes.length);
  mergeNops(bytes, bytes.length, context.state.nops);
  return bytes;
}

function isSkipped(context: SiteContext, dest: KernelOffset): boolean {
  const { state } = context;
  if (SKIPPED.some((name) => state.symbol(name) === dest)) return true;
  const relocate = state.symbol("relocate_kernel");
  return relocate !== undefined && dest >= relocate && dest < relocate + RELOCATE_KERNEL;
}

const isNopRun = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0x90);
const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

/**
 * patch_dest(): the padding in front of `dest` that counts, written where this object has it. Undefined when there is
 * no such padding: the call then stays.
 */
function countingPad(context: SiteContext, dest: KernelOffset, id: number): KernelOffset | undefined {
  const template = templateOf(context);
  if (template === undefined || isSkipped(context, dest)) return undefined;
  const size = template.bytes.length;
  const pad = dest - size;
  const bytes = countingBytes(context, template, pad);
  const own = context.space.read(pad, size);
  if (own !== undefined && context.space.find(dest) !== undefined) {
    if (same(own, bytes)) return pad;
    if (!isNopRun(own)) return undefined;
    context.space.write(pad, bytes, id);
    return pad;
  }
  // In another object: what stands there now tells whether its padding was fit for it.
  const found = context.kernel.memory.tryRead(fromKernelOffset(pad), size);
  return found !== undefined && same(found, bytes) ? pad : undefined;
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
  const table = findTable(context.object, ".call_sites", "__call_sites", "__call_sites_end");
  const replacements = context.object.section(".altinstr_replacement");
  if (table === undefined || replacements === undefined)
    return context.kernel.find("smp_text_poke_single") !== undefined;
  const end = replacements.start + replacements.bytes.length;
  return placesOf(table).some((at) => at >= replacements.start && at < end);
}

export const applyCallThunks: Mechanism = (context) => {
  if (!context.state.callDepth) return undefined;
  const table = findTable(context.object, ".call_sites", "__call_sites", "__call_sites_end");
  const { space } = context;
  const id = mechanismId("call-thunks");
  if (table === undefined) {
    // An object without calls has functions all the same, which others call.
    adoptPads(context, id);
    return undefined;
  }
  const places = placesOf(table);
  const sites = new SiteArrays(places.length);
  const patch = (at: KernelOffset): void => {
    const call = space.read(at, LENGTH);
    if (call === undefined || call[0] !== CALL) return;
    const dest = rel32Target(call, 1, at + LENGTH);
    const pad = countingPad(context, dest, id);
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
    object: context.object.name,
    entries: places.length,
    table: `${table.name} (4-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const at = sites.offsets[index];
      const built = space.readBuilt(at, LENGTH);
      return {
        slot: { name: "X86_FEATURE_CALL_DEPTH", value: "set" },
        reason:
          built?.[0] === CALL
            ? `calls of ${nameOf(context, rel32Target(built, 1, at + LENGTH))} are counted in the padding in front of it`
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
 * object's own calls: a function whose padding holds exactly that sequence has it.
 */
function adoptPads(context: SiteContext, id: number): void {
  const template = templateOf(context);
  if (template === undefined) return;
  const size = template.bytes.length;
  const { kernel, space, object } = context;
  const isOwn = (module: string | undefined): boolean => (module ?? "vmlinux") === object.name;
  for (const symbol of kernel.allSymbols.all()) {
    if (!isOwn(symbol.module) || !/^[tTwW]$/.test(symbol.type)) continue;
    const dest = toKernelOffset(symbol.address);
    if (dest === undefined || space.find(dest) === undefined) continue;
    const own = space.read(dest - size, size);
    if (own === undefined || !isNopRun(own)) continue;
    const found = kernel.memory.tryRead(fromKernelOffset(dest - size), size);
    if (found === undefined || isNopRun(found)) continue;
    const bytes = countingBytes(context, template, dest - size);
    if (same(found, bytes)) space.write(dest - size, bytes, id);
  }
}
