// Return thunks: objtool lists every `jmp __x86_return_thunk` in .return_sites; apply_returns() turns them into plain
// returns or into jumps to the thunk that the CPU needs (arch/x86/kernel/alternative.c, since 5.19, 5.10.133).
import { branch32, INT3, JMP32, RET, rel32Target } from "../../x86/encode.ts";
import { findSiteTable, type Mechanism, nameOf, placesOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { wantsRethunkAt } from "../base/patch-state.ts";
import { type LegalForm, SiteArrays } from "../base/site.ts";

const LENGTH = 5;
export const PLAIN_RETURN = Uint8Array.of(RET, INT3, INT3, INT3, INT3);

/** The bytes of a return at `at`: a plain one, or a jump to the return thunk in use. */
export function returnBytes(context: SiteContext, at: number): Uint8Array {
  const { state } = context;
  return wantsRethunkAt(state, at) && state.returnThunk !== undefined
    ? branch32(JMP32, at, state.returnThunk)
    : PLAIN_RETURN;
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
  // With RETHUNK and the built thunk in use, 5.19 … 6.2 leave the sites alone; newer ones write the same bytes again.
  for (let i = 0; i < places.length; i++) {
    const at = places[i];
    sites.add(at, LENGTH);
    const region = space.find(at, LENGTH);
    if (region === undefined) continue;
    const index = at - region.start;
    const opcode = region.intended[index];
    if (opcode === JMP32) {
      const target = rel32Target(region.intended, index + 1, at + LENGTH);
      // A static-call trampoline that static_call_init() already pointed elsewhere is not a return any more.
      if (target !== state.builtReturnThunk) continue;
    } else if (opcode !== RET) {
      continue;
    }
    if (state.rethunk && state.returnThunk === state.builtReturnThunk && opcode === JMP32) continue;
    if (state.returnThunk === undefined && wantsRethunkAt(state, at)) {
      space.forget(at, LENGTH, "returns", "x86_return_thunk");
      continue;
    }
    space.write(at, returnBytes(context, at), id);
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
      const forms: LegalForm[] = [{ name: "plain RET", bytes: PLAIN_RETURN }];
      if (state.builtReturnThunk !== undefined) {
        forms.push({
          name: "return thunk left unpatched: JMP __x86_return_thunk",
          bytes: branch32(JMP32, at, state.builtReturnThunk),
        });
      }
      if (state.returnThunk !== undefined && state.returnThunk !== state.builtReturnThunk) {
        forms.push({
          name: `JMP ${nameOf(context, state.returnThunk)}`,
          bytes: branch32(JMP32, at, state.returnThunk),
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
