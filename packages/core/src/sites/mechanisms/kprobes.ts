// Kprobes: an INT3 over the first byte of the probed instruction, or a jump to a detour buffer over five bytes once the
// optimiser has been there. Probes at a traced function's entry go through ftrace and write nothing themselves.
import { formatAddress, fromKernelOffset } from "../../bytes/brand.ts";
import { KPROBE_FLAG, type KprobeRecord, kprobeRecords } from "../../kernel/records/kprobe-records.ts";
import { branch32, hexBytes, INT3, JMP32, rel32Target } from "../../x86/encode.ts";
import { type Mechanism, nameOf, type SiteContext } from "../base/context.ts";
import { halfWritten } from "../base/in-flight.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { type LegalForm, SiteArrays, type SiteDetails } from "../base/site.ts";
import { tellUnknownState } from "../unknown/unknown-state.ts";

/** JMP32_INSN_SIZE */
const JUMP = 5;

/** What the place holds when the probe is not armed, with INT3, and with the jump (where a detour is prepared). */
export interface ProbeForms {
  readonly original: Uint8Array;
  readonly int3: Uint8Array;
  readonly jump?: Uint8Array;
}

/** The forms over `before`, the bytes that stand at the place without the probe. */
export function probeForms(probe: KprobeRecord, before: Uint8Array): ProbeForms {
  const int3 = before.slice();
  int3[0] = INT3;
  return {
    original: before,
    int3,
    jump: probe.slot === undefined || before.length < JUMP ? undefined : branch32(JMP32, probe.at, probe.slot),
  };
}

export const applyKprobes: Mechanism = (context) => {
  const records = kprobeRecords(context.kernel, context.problems);
  if (records !== undefined && !records.complete) passOverUnknown(context);
  if (records?.unknown !== undefined) {
    tellUnknownState(context, "kprobes", "kprobe_table", records.unknown, "breakpoints and detours are not judged");
  }
  if (records === undefined || records.probes.length === 0) return undefined;
  const { space, object } = context;
  const id = mechanismId("kprobes");
  const sites = new SiteArrays(records.probes.length);
  const placed: { probe: KprobeRecord; forms: ProbeForms }[] = [];
  for (const probe of records.probes) {
    const length = probe.slot === undefined ? 1 : JUMP;
    const before = space.read(probe.at, length)?.slice();
    if (before === undefined || (probe.flags & KPROBE_FLAG.FTRACE) !== 0) continue;
    const forms = probeForms(probe, before);
    sites.add(probe.at, length);
    placed.push({ probe, forms });
    if (probe.armed === "jump" && forms.jump !== undefined) space.write(probe.at, forms.jump, id);
    else if (probe.armed === "int3") space.write(probe.at, Uint8Array.of(INT3), id);
    else continue;
    if (probe.opcode !== before[0]) {
      context.problems.push(
        `the kprobe at ${nameOf(context, probe.at)} saved the original byte ${hexBytes(Uint8Array.of(probe.opcode))}, the text calls for ${hexBytes(before.subarray(0, 1))}`,
      );
    }
  }
  if (placed.length === 0) return undefined;
  return {
    mechanism: "kprobes",
    object: object.name,
    entries: placed.length,
    table: "kprobe_table",
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => describe(context, placed[index].probe, placed[index].forms),
    pending: records.changing
      ? { evidence: "kprobe_mutex is held", forms: (index) => stepsOf(placed[index].forms) }
      : undefined,
  };
};

/** Where not all probes are known, a breakpoint that nothing explains may be one of the others'; so may a jump out of the text. */
function passOverUnknown({ space, kernel }: SiteContext): void {
  for (const region of space.regions) {
    if (!region.audited) continue;
    const found = new Uint8Array(region.intended.length);
    kernel.memory.readPresent(fromKernelOffset(region.start), found, () => {});
    for (let at = 0; at < found.length; at++) {
      if (found[at] === region.intended[at]) continue;
      const place = region.start + at;
      const isJump = found[at] === JMP32 && at + JUMP <= found.length;
      const isDetour = isJump && space.find(rel32Target(found, at + 1, place + JUMP)) === undefined;
      if (found[at] === INT3) space.forget(place, 1, "kprobes", "kprobe");
      else if (isDetour) space.forget(place, JUMP, "kprobes", "kprobe");
      if (isDetour) at += JUMP - 1;
    }
  }
}

/** While probes are being armed, disarmed or optimised: any step between the three forms. */
function stepsOf({ original, int3, jump }: ProbeForms): readonly Uint8Array[] {
  if (jump === undefined) return [original, int3];
  const half = jump.slice();
  half[0] = INT3;
  return [original, int3, half, jump, ...halfWritten(original, jump), ...halfWritten(jump, original)];
}

function describe(context: SiteContext, probe: KprobeRecord, forms: ProbeForms): SiteDetails {
  const slot = probe.slot === undefined ? "" : nameOf(context, probe.slot);
  const words = {
    no: (probe.flags & KPROBE_FLAG.GONE) !== 0 ? "gone with its module" : "not armed",
    ftrace: "armed through ftrace",
    int3: "armed with INT3",
    jump: `optimised: jumps to its detour buffer ${slot}`,
  }[probe.armed];
  const others: LegalForm[] = [{ name: "original instruction (probe not armed)", bytes: forms.original }];
  others.push({ name: "INT3 of the kprobe", bytes: forms.int3 });
  if (forms.jump !== undefined) others.push({ name: `JMP to the detour buffer ${slot}`, bytes: forms.jump });
  const intended = { no: forms.original, ftrace: forms.original, int3: forms.int3, jump: forms.jump }[probe.armed];
  const several = probe.probes > 1 ? ` (${probe.probes} probes)` : "";
  return {
    slot: {
      name: `kprobe at ${nameOf(context, probe.at)}${several}`,
      value: `${words}; original ${hexBytes(forms.original)}`,
      address: probe.address,
    },
    reason: `a kprobe is ${words} (flags 0x${probe.flags.toString(16)}, struct kprobe at ${formatAddress(probe.address)})`,
    forms: others.filter((form) => form.bytes !== intended),
  };
}
