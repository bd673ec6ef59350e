// Retpolines: `call/jmp __x86_indirect_thunk_REG` sites in .retpoline_sites. apply_retpolines() leaves them with
// X86_FEATURE_RETPOLINE, else inlines the indirect branch, with LFENCE, call-depth or ITS thunks where those are on
// (arch/x86/kernel/alternative.c, since 5.16 and 5.10.133).
import { fromKernelOffset, type KernelOffset } from "../../bytes/brand.ts";
import { branchAt, branchEnd, LONGEST_BRANCH } from "../../x86/branch.ts";
import { CALL, hexBytes, INT3, JMP32 } from "../../x86/encode.ts";
import { fillNops } from "../../x86/nops.ts";
import { findSiteTable, findTable, type Mechanism, nameOf, placesOf, type SiteContext } from "../base/context.ts";
import { PADDINGS, type Padding, type Votes } from "../base/era.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { type LegalForm, SiteArrays } from "../base/site.ts";
import { thunkBranch } from "../base/thunk-branch.ts";
import { itsThunkAt } from "./its-thunks.ts";

const THUNK_SIZE = 32;
const SHORTEST = 5;

interface RetpolineSite {
  readonly length: number;
  readonly opcode: number;
  /** condition code of a Jcc, or -1 */
  readonly condition: number;
  readonly register: number;
}

/** The bytes of the site's instruction and some behind it, out of one layer of its region. */
function bytesAt(context: SiteContext, at: KernelOffset, layer: "built" | "intended"): Uint8Array | undefined {
  const region = context.space.find(at, SHORTEST);
  const index = at - (region?.start ?? 0);
  return region?.[layer].subarray(index, index + LONGEST_BRANCH);
}

/** Decodes the built call or jump; undefined when it is none to a thunk. */
function decode(bytes: Uint8Array, at: KernelOffset, thunkArray: KernelOffset): RetpolineSite | undefined {
  const branch = branchAt(bytes);
  if (branch === undefined || (branch.kind !== "call" && branch.kind !== "jmp" && branch.kind !== "jcc"))
    return undefined;
  const register = (branchEnd(branch, at) - thunkArray) / THUNK_SIZE;
  if (!Number.isInteger(register) || register < 0 || register > 15 || register === 4) return undefined;
  const opcode = branch.kind === "call" ? CALL : JMP32;
  return { length: branch.length, opcode, condition: branch.condition, register };
}

/**
 * emit_indirect(): up to 6.12 the bare branch, JMP followed by one INT3 where there is room; 7.x fills with CS prefixes
 * in front of CALL and INT3 behind JMP. `modern` tells which.
 */
function emitIndirect(site: RetpolineSite, room: number, modern: boolean): number[] {
  const out: number[] = [];
  const call = site.opcode === CALL;
  const size = site.register >= 8 ? 3 : 2;
  if (modern && call && room - size <= 3) for (let i = room - size; i > 0; i--) out.push(0x2e);
  if (site.register >= 8) out.push(0x41);
  out.push(0xff, (call ? 0xd0 : 0xe0) + (site.register & 7));
  if (!call) {
    if (modern) while (out.length < room) out.push(INT3);
  }
  return out;
}

/**
 * How this kernel pads an inlined branch: with NOPs (5.10), with an INT3 after JMP *%reg first (8c03af3e090e of 6.0, and
 * where it was ported back), or as 7.x does.
 */

/** patch_retpoline() without thunks; undefined when it does not fit, and the kernel leaves the site alone. */
function inlinedBytes(
  context: SiteContext,
  site: RetpolineSite,
  lfence: boolean,
  padding: Padding,
): Uint8Array | undefined {
  const bytes: number[] = [];
  if (site.condition >= 0) bytes.push(0x70 + (site.condition ^ 1), site.length - 2);
  if (lfence) bytes.push(0x0f, 0xae, 0xe8);
  bytes.push(...emitIndirect(site, site.length - bytes.length, padding === "prefixes"));
  if (site.opcode === JMP32 && padding === "int3-nops" && bytes.length < site.length) bytes.push(INT3);
  if (bytes.length > site.length) return undefined;
  const out = new Uint8Array(site.length);
  out.set(bytes);
  const rest = site.length - bytes.length;
  if (rest > 0) fillNops(out, bytes.length, rest, context.state.nops);
  return out;
}

function indirectBytes(
  context: SiteContext,
  site: RetpolineSite,
  at: KernelOffset,
  padding: Padding,
): Uint8Array | undefined {
  const { state } = context;
  const before = (site.condition >= 0 ? 2 : 0) + (state.retpolineLfence ? 3 : 0);
  const lastByte = at + before + 1 + (site.register >> 3);
  if (state.itsIndirect && (lastByte & 0x20) === 0) return itsThunkAt(context, site, at);
  return inlinedBytes(context, site, state.retpolineLfence, padding);
}

/** emit_call_track_retpoline(): the same branch to the call-depth thunk of the register. */
function trackingBytes(context: SiteContext, site: RetpolineSite, at: KernelOffset): Uint8Array | undefined {
  const array = context.state.symbol(
    site.opcode === CALL ? "__x86_indirect_call_thunk_array" : "__x86_indirect_jump_thunk_array",
  );
  return array === undefined ? undefined : thunkBranch(site, at, array + site.register * THUNK_SIZE);
}

export const applyRetpolines: Mechanism = (context) => {
  const table = findSiteTable(
    context,
    { mechanism: "retpolines", size: 4 },
    ".retpoline_sites",
    "__retpoline_sites",
    "__retpoline_sites_end",
  );
  const { state, space } = context;
  const { thunkArray } = state;
  if (table === undefined || thunkArray === undefined) return undefined;
  const places = placesOf(table);
  const sites = new SiteArrays(places.length);
  const id = mechanismId("retpolines");
  const inlined = !state.retpoline || state.retpolineLfence;
  const padding = !inlined
    ? defaultPadding(context)
    : (context.era?.padding ?? paddingOfVotes(context, paddingVotes(context)));
  const intendedOf = (site: RetpolineSite, at: KernelOffset): Uint8Array | undefined => {
    if (!inlined) {
      return state.callDepth ? trackingBytes(context, site, at) : undefined;
    }
    return indirectBytes(context, site, at, padding);
  };
  for (let i = 0; i < places.length; i++) {
    const at = places[i];
    const current = bytesAt(context, at, "intended");
    const site = current && decode(current, at, thunkArray);
    sites.add(at, site?.length ?? (current && branchAt(current)?.length) ?? SHORTEST);
    // FineIBT's paranoid callers have overwritten the call already: apply_retpolines() passes over what leads elsewhere.
    if (site === undefined) continue;
    const bytes = intendedOf(site, at);
    if (bytes !== undefined) space.write(at, bytes, id);
  }
  return {
    mechanism: "retpolines",
    object: context.object.name,
    entries: places.length,
    table: `${table.name} (4-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const at = sites.offsets[index];
      const forms: LegalForm[] = [];
      const built = space.readBuilt(at, sites.lengths[index]);
      const site = built && decode(built, at, thunkArray);
      if (built !== undefined && site !== undefined) {
        forms.push({
          name: `retpoline left as built: ${nameOf(context, thunkArray + site.register * THUNK_SIZE)}`,
          bytes: built,
        });
        for (const lfence of [false, true]) {
          const bytes = inlinedBytes(context, site, lfence, padding);
          if (bytes !== undefined)
            forms.push({ name: `inlined indirect branch${lfence ? " behind LFENCE" : ""}`, bytes });
        }
      }
      const on = state.retpoline && !state.retpolineLfence;
      return {
        slot: {
          name: "X86_FEATURE_RETPOLINE, RETPOLINE_LFENCE",
          value: `${state.retpoline ? "set" : "clear"}, ${state.retpolineLfence ? "set" : "clear"}`,
        },
        reason: on
          ? state.callDepth
            ? "indirect branches count call depth"
            : "retpolines are in use: left as built"
          : "retpolines are off: the indirect branch is inlined",
        forms,
        callsFunctions: true,
      };
    },
  };
};

/** The padding of most releases with the NOPs and the text_poke of this one. */
function defaultPadding({ state, kernel }: SiteContext): Padding {
  return state.nops.jumpOverLong && kernel.find("smp_text_poke_single") !== undefined ? "prefixes" : "int3-nops";
}

/** So many sites decide. */
const MOST_VOTES = 400;

/** Of sites whose padding tells one form from another: how many show each. */
export function paddingVotes(context: SiteContext): Votes {
  const { state, kernel, object } = context;
  const table = findTable(object, ".retpoline_sites", "__retpoline_sites", "__retpoline_sites_end");
  const votes = PADDINGS.map(() => 0);
  let seen = 0;
  for (const at of table === undefined ? [] : placesOf(table)) {
    const built = bytesAt(context, at, "built");
    const site = built && state.thunkArray !== undefined ? decode(built, at, state.thunkArray) : undefined;
    const found = site && kernel.memory.tryRead(fromKernelOffset(at), site.length);
    if (built === undefined || site === undefined || found === undefined) continue;
    const left = built.subarray(0, site.length);
    const forms = PADDINGS.map((padding) => hexBytes(indirectBytes(context, site, at, padding) ?? left));
    if (forms.every((form) => form === forms[0])) continue;
    const held = hexBytes(found);
    if (!forms.includes(held)) continue;
    forms.forEach((form, i) => {
      if (form === held) votes[i]++;
    });
    if (++seen === MOST_VOTES) break;
  }
  return { seen, votes };
}

/** The padding that most sites show; the usual one of releases like this where they do not decide. */
export function paddingOfVotes(context: SiteContext, { votes }: Votes): Padding {
  const most = Math.max(...votes);
  const byDefault = defaultPadding(context);
  return votes[PADDINGS.indexOf(byDefault)] === most ? byDefault : PADDINGS[votes.indexOf(most)];
}
