// BPF dispatchers up to 6.0: the entry of bpf_dispatcher_xdp_func is made a jump to generated code while programs are
// attached (bpf_arch_text_poke() in arch/x86/net/bpf_jit_comp.c). Later ones are static calls.
import { type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { type BpfDispatcher, pokedDispatchers } from "../../kernel/records/bpf-records.ts";
import { branch32, JMP32 } from "../../x86/encode.ts";
import { heldLock } from "../base/changes.ts";
import { type Mechanism, nameOf } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { SiteArrays } from "../base/site.ts";
import { ENDBR64 } from "./endbr.ts";

const LENGTH = 5;

export const applyBpfDispatchers: Mechanism = (context) => {
  const { kernel, space, object, state } = context;
  const sites = new SiteArrays(1);
  const owners: { dispatcher: BpfDispatcher; bytes: Uint8Array }[] = [];
  for (const dispatcher of pokedDispatchers(kernel, context.problems)) {
    let at = toKernelOffset(dispatcher.func);
    if (at === undefined) continue;
    // 5.18: the jump stands behind ENDBR.
    const entry = space.readBuilt(at, ENDBR64.length);
    if (entry?.every((byte, i) => byte === ENDBR64[i])) at += ENDBR64.length;
    if (space.find(at, LENGTH) === undefined) continue;
    const target = dispatcher.target === undefined ? undefined : toKernelOffset(dispatcher.target);
    if (dispatcher.target !== undefined && target === undefined) continue;
    const bytes = target === undefined ? state.nops.atomic5 : branch32(JMP32, at, target);
    sites.add(at, LENGTH);
    owners.push({ dispatcher, bytes });
    if (target !== undefined) space.write(at, bytes, mechanismId("bpf"));
  }
  if (owners.length === 0) return undefined;
  const updating = heldLock(context, "text_mutex");
  const nop = { name: "NOP (no program attached)", bytes: state.nops.atomic5 };
  return {
    mechanism: "bpf",
    object: object.name,
    entries: owners.length,
    table: "struct bpf_dispatcher",
    offsets: sites.offsets,
    lengths: sites.lengths,
    // num_progs changes before the text does
    pending: updating === undefined ? undefined : { evidence: updating },
    describe: (index) => {
      const { dispatcher } = owners[index];
      const target = dispatcher.target === undefined ? undefined : (toKernelOffset(dispatcher.target) as KernelOffset);
      const words = target === undefined ? "no image" : nameOf(context, target);
      return {
        slot: {
          name: dispatcher.name,
          value: `${dispatcher.programs} programs, ${words}`,
          address: dispatcher.address,
        },
        reason: target === undefined ? "no program is attached: NOP" : `jumps to ${dispatcher.name} at ${words}`,
        forms: target === undefined ? [] : [nop],
        callsFunctions: true,
      };
    },
  };
};
