// What BPF has put into executable memory: programs after the JIT, trampolines, dispatchers. Each registers itself for
// kallsyms in one list (kernel/bpf/core.c, struct bpf_ksym since 5.7).

import { addressAdd, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import { kept } from "../kept.ts";
import type { Kernel } from "../kernel.ts";
import { walkList } from "../layouts/lists.ts";
import { getU64 } from "../layouts/little-endian.ts";

export interface BpfImage {
  /** Address of the struct bpf_ksym. */
  readonly ksym: VirtualAddress;
  /** "bpf_prog_0123456789abcdef_name", "bpf_trampoline_6442453466", "bpf_dispatcher_xdp" */
  readonly name: string;
  readonly start: VirtualAddress;
  /** bytes */
  readonly size: number;
  readonly kind: "program" | "trampoline" | "dispatcher" | "other";
}

const KSYM = "struct bpf_ksym";
const MAX_IMAGES = 1 << 16;
/** No JIT image is larger: BPF_COMPLEXITY_LIMIT_INSNS of the longest encodings stays well below. */
const MAX_SIZE = 64 << 20;

/** All images, read once a kernel; empty for a kernel without BPF JIT. */
export function bpfImages(kernel: Kernel, problems: string[]): readonly BpfImage[] {
  return kept(kernel, read, problems);
}

function read(kernel: Kernel, problems: string[]): BpfImage[] {
  const { structures: s } = kernel;
  const head = kernel.find("bpf_kallsyms");
  const out: BpfImage[] = [];
  if (head === undefined) return out;
  if (!s.has(KSYM, "lnode")) {
    // 4.12 … 5.6 linked struct bpf_prog_aux itself.
    const first = kernel.memory.tryRead(head, 8);
    const empty = first !== undefined && getU64(first, 0) === head;
    if (!empty) problems.push("bpf_kallsyms is of before 5.7: BPF images are not listed");
    return out;
  }
  const walk = walkList(kernel.memory, head, s.offset(KSYM, "lnode"), MAX_IMAGES);
  if (walk.problem) problems.push(`bpf_kallsyms: ${walk.problem}`);
  for (const ksym of walk.entries) {
    try {
      const start = s.pointer(ksym, KSYM, "start");
      const end = s.pointer(ksym, KSYM, "end");
      const name = s.text(ksym, KSYM, "name");
      if (end <= start || end - start > BigInt(MAX_SIZE)) {
        problems.push(`the BPF image ${name} claims to reach from 0x${start.toString(16)} to 0x${end.toString(16)}`);
        continue;
      }
      const program = s.has(KSYM, "prog") && s.number(ksym, KSYM, "prog") !== 0;
      const kind = program ? "program" : (/^bpf_(trampoline|dispatcher)_/.exec(name)?.[1] ?? "other");
      out.push({ ksym, name, start, size: Number(end - start), kind: kind as BpfImage["kind"] });
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`the BPF image registered at 0x${ksym.toString(16)}: ${error.message}`);
    }
  }
  return out.sort((a, b) => (a.start < b.start ? -1 : 1));
}

export interface BpfDispatcher {
  readonly name: string;
  readonly address: VirtualAddress;
  /** The function whose entry leads to the dispatcher. */
  readonly func: VirtualAddress;
  /** Where it leads; undefined while no program is attached. */
  readonly target: VirtualAddress | undefined;
  readonly programs: number;
}

/**
 * Dispatchers that are jumped to from the entry of their function (5.6 to 6.0). Since c86df29d11df of 6.1 they are
 * static calls, and struct bpf_dispatcher has a key.
 */
export function pokedDispatchers(kernel: Kernel, problems: string[]): readonly BpfDispatcher[] {
  const { structures: s } = kernel;
  const TYPE = "struct bpf_dispatcher";
  if (!s.has(TYPE, "image_off") || s.has(TYPE, "sc_key")) return [];
  const found = new Map<bigint, string>();
  const known = kernel.find("bpf_dispatcher_xdp");
  if (known !== undefined) found.set(known, "bpf_dispatcher_xdp");
  for (const image of bpfImages(kernel, problems)) {
    if (image.kind === "dispatcher") found.set(addressAdd(image.ksym, -s.offset(TYPE, "ksym")), image.name);
  }
  const out: BpfDispatcher[] = [];
  for (const [at, name] of found) {
    const address = virtualAddress(at);
    try {
      const programs = s.number(address, TYPE, "num_progs");
      const image = s.pointer(address, TYPE, "image");
      const target = programs > 0 ? addressAdd(image, s.number(address, TYPE, "image_off")) : undefined;
      out.push({ name, address, func: s.pointer(address, TYPE, "func"), target, programs });
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`${name}: ${error.message}`);
    }
  }
  return out;
}
