// Return thunks: objtool lists every `jmp __x86_return_thunk` in .return_sites; apply_returns() turns them into plain
// returns or into jumps to the thunk that the CPU needs (arch/x86/kernel/alternative.c, since 5.19, 5.10.133).
import { branchAt, branchEnd, LONGEST_BRANCH } from "../../x86/branch.ts";
import { branch32, INT3, JMP32, RET } from "../../x86/encode.ts";
import { findSiteTable, type Mechanism, nameOf, placesOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { wantsRethunkAt } from "../base/patch-state.ts";
import { type LegalForm, SiteArrays } from "../base/site.ts";

/** `jmp rel32` without prefixes, and what trampolines of static calls have. */
const PLAIN = 5;
export const PLAIN_RETURN = Uint8Array.of(RET, INT3, INT3, INT3, INT3);
/** `ud1 %esp,%ecx` behind the branch of a static call trampoline (tramp_ud[]). */
const TRAMPOLINE = [0x0f, 0xb9, 0xcc] as const;

/** Bytes with INT3 behind them up to `length`, as patch_return() fills up. */
function filled(bytes: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length).fill(INT3);
  out.set(bytes.subarray(0, length));
  return out;
}

/** patch_return(): a plain return at `at`, or a jump to the return thunk in use, over the `length` bytes of the built one. */
export function returnBytes(context: SiteContext, at: number, length = PLAIN): Uint8Array {
  const { state } = context;
  const bytes =
    wantsRethunkAt(state, at) && state.returnThunk !== undefined
      ? branch32(JMP32, at, state.returnThunk)
      : PLAIN_RETURN;
  return filled(bytes, length);
}

/** What apply_returns() sees at a place: the length of its instruction, and whether it is one that is rewritten. */
function decode(context: SiteContext, at: number): { readonly length: number; readonly patched: boolean } {
  const region = context.space.find(at, 1);
  if (region === undefined) return { length: PLAIN, patched: false };
  const index = at - region.start;
  const bytes = region.intended.subarray(index, index + LONGEST_BRANCH);
  const branch = branchAt(bytes);
  if (branch === undefined) return { length: PLAIN, patched: false };
  const trampoline = TRAMPOLINE.every((byte, i) => bytes[PLAIN + i] === byte);
  // A static call trampoline that static_call_init() already pointed elsewhere is not a return any more.
  const isReturn = branch.kind === "jmp" && branchEnd(branch, at) === context.state.builtReturnThunk;
  if (trampoline) return { length: PLAIN, patched: isReturn || branch.kind === "ret" };
  return { length: branch.length, patched: isReturn };
}

export const applyReturns: Mechanism = (context) => {
  const table = findSiteTable(
    context,
    { mechanism: "returns", size: 4 },
    ".return_sites",
    "__return_sites",
    "__return_sites_end",
  );
  if (table === undefined) return undefined;
  const { state, space } = context;
  const places = placesOf(table);
  const sites = new SiteArrays(places.length);
  const id = mechanismId("returns");
  for (let i = 0; i < places.length; i++) {
    const at = places[i];
    const { length, patched } = decode(context, at);
    sites.add(at, length);
    if (!patched) continue;
    // With RETHUNK and the built thunk in use, 5.19 … 6.2 leave the sites alone; newer ones always have another thunk.
    if (state.rethunk && state.returnThunk === state.builtReturnThunk) continue;
    if (state.returnThunk === undefined && wantsRethunkAt(state, at)) {
      space.forget(at, length, "returns", "x86_return_thunk");
      continue;
    }
    space.write(at, returnBytes(context, at, length), id);
  }
  return {
    mechanism: "returns",
    object: context.object.name,
    entries: places.length,
    table: `${table.name} (4-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const at = sites.offsets[index];
      const length = sites.lengths[index];
      const forms: LegalForm[] = [{ name: "plain RET", bytes: filled(PLAIN_RETURN, length) }];
      const built = space.readBuilt(at, length);
      const branch = built && branchAt(built);
      if (built !== undefined && branch !== undefined && branchEnd(branch, at) === state.builtReturnThunk) {
        forms.push({ name: "return thunk left unpatched: JMP __x86_return_thunk", bytes: built });
      }
      if (state.returnThunk !== undefined && state.returnThunk !== state.builtReturnThunk && length >= PLAIN) {
        forms.push({
          name: `JMP ${nameOf(context, state.returnThunk)}`,
          bytes: filled(branch32(JMP32, at, state.returnThunk), length),
        });
      }
      const thunk = state.returnThunk === undefined ? "none" : nameOf(context, state.returnThunk);
      return {
        slot: { name: "X86_FEATURE_RETHUNK, x86_return_thunk", value: `${state.rethunk ? "set" : "clear"}, ${thunk}` },
        reason: wantsRethunkAt(state, at) ? `returns go through ${thunk}` : "no return thunk is needed: plain RET",
        forms,
        callsFunctions: true,
      };
    },
  };
};
