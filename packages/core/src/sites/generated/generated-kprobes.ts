// Code that kprobes made: copies of single instructions, and the detour buffers that optimised probes jump to, each of
// them a template filled in (arch/x86/kernel/kprobes/opt.c).
import {
  addressAdd,
  fromKernelOffset,
  type KernelOffset,
  toKernelOffset,
  type VirtualAddress,
} from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { walkList } from "../../kernel/layouts/lists.ts";
import { isMutexHeld } from "../../kernel/records/kernel-mutex.ts";
import { type KprobeRecord, kprobeRecords } from "../../kernel/records/kprobe-records.ts";
import { branch32, CALL, getI32, JMP32, putI32 } from "../../x86/encode.ts";
import { shapes } from "../../x86/instructions.ts";
import { relocateReplacement } from "../base/alt-relocate.ts";
import { nearestName } from "../base/context.ts";
import { type Comparison, compareGenerated, type GeneratedCode } from "./generated-entry.ts";

const PAGE = 4096;
const MAX_PAGES = 4096;
const MAX_TEMPLATE = 4096;
const LONGEST_INSTRUCTION = 15;
/** The longest instruction and a jump: what a slot is read for. */
const MAX_COPY = LONGEST_INSTRUCTION + 5;
const X86_FEATURE_SMAP = 9 * 32 + 20;

export function kprobeCode(kernel: Kernel, problems: string[]): GeneratedCode[] {
  const out: GeneratedCode[] = [];
  const probes = kprobeRecords(kernel, problems)?.probes ?? [];
  for (const [symbol, kind] of [
    ["kprobe_insn_slots", "kprobe-copies"],
    ["kprobe_optinsn_slots", "kprobe-detours"],
  ] as const) {
    for (const page of slotPages(kernel, symbol, problems)) {
      const inside = (address: bigint | undefined): boolean =>
        address !== undefined && address >= page.address && address < page.address + BigInt(PAGE);
      const owners = probes.filter((probe) => inside(kind === "kprobe-copies" ? probe.copy : detourOf(probe)));
      // Without probes of its own a slot waits for the garbage collector, or belongs to one that is just being made.
      const owner = `${symbol}: ${page.used} slots in use, ${owners.length} by listed probes`;
      out.push({ kind, owner, address: page.address, size: PAGE, checked: false });
    }
  }
  for (const probe of probes) {
    const copy = copyOf(kernel, probe);
    if (copy !== undefined) out.push(copy);
    if (probe.slot !== undefined) out.push(detour(kernel, probe, probe.slot));
  }
  return out;
}

const detourOf = (probe: KprobeRecord): VirtualAddress | undefined =>
  probe.slot === undefined ? undefined : fromKernelOffset(probe.slot);

/** struct kprobe_insn_cache.pages */
function slotPages(kernel: Kernel, symbol: string, problems: string[]): { address: VirtualAddress; used: number }[] {
  const { structures: s, memory } = kernel;
  const CACHE = "struct kprobe_insn_cache";
  const INSN_PAGE = "struct kprobe_insn_page";
  const cache = kernel.find(symbol);
  if (cache === undefined || !s.has(CACHE, "pages") || !s.has(INSN_PAGE, "insns")) return [];
  const head = addressAdd(cache, s.offset(CACHE, "pages"));
  const walk = walkList(memory, head, s.offset(INSN_PAGE, "list"), MAX_PAGES);
  if (walk.problem) problems.push(`${symbol}: ${walk.problem}`);
  return walk.entries.flatMap((page) => {
    try {
      return [{ address: s.pointer(page, INSN_PAGE, "insns"), used: s.number(page, INSN_PAGE, "nused") }];
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`${symbol}: ${error.message}`);
      return [];
    }
  });
}

/**
 * arch_copy_kprobe(): the probed instruction, and behind it the jump back where it may run on (prepare_boost()) or an
 * INT3 where it may not (6256e668b7af, 5.13). Undefined for probes that need no copy (ftrace).
 */
function copyOf(kernel: Kernel, probe: KprobeRecord): GeneratedCode | undefined {
  const at = probe.copy === undefined ? undefined : toKernelOffset(probe.copy);
  if (probe.copy === undefined || at === undefined) return undefined;
  const listed = {
    kind: "kprobe-copy" as const,
    owner: `kprobe at ${nearestName(kernel, probe.at)}`,
    address: probe.copy,
  };
  const found = kernel.memory.tryRead(probe.copy, MAX_COPY);
  const original = originalBytes(kernel, probe, LONGEST_INSTRUCTION);
  const [shape] = original === undefined ? [] : shapes(original);
  if (found === undefined || original === undefined || shape === undefined)
    return { ...listed, size: 0, checked: false };
  const { length } = shape;
  const boosted = found[length] === JMP32;
  const expected = new Uint8Array(boosted ? length + 5 : length);
  expected.set(original.subarray(0, length));
  if (shape.ripDisplacement !== undefined) {
    putI32(expected, shape.ripDisplacement, getI32(expected, shape.ripDisplacement) + probe.at - at);
  }
  if (boosted) expected.set(branch32(JMP32, at + length, probe.at + length), length);
  return { ...listed, size: expected.length, ...settled(kernel, compareGenerated(found, expected)) };
}

/** Under kprobe_mutex a probe's copy, its saved bytes and the text change one after the other. */
function settled(kernel: Kernel, compared: Comparison): Comparison {
  const changing = compared.problem !== undefined && isMutexHeld(kernel, "kprobe_mutex");
  return changing ? { ...compared, changing: "kprobe_mutex is held" } : compared;
}

function detour(kernel: Kernel, probe: KprobeRecord, slot: KernelOffset): GeneratedCode {
  const expected = detourBytes(kernel, probe, slot);
  const found = expected && kernel.memory.tryRead(fromKernelOffset(slot), expected.length);
  const compared: Comparison = expected && found ? compareGenerated(found, expected) : { checked: false };
  return {
    kind: "kprobe-detour",
    owner: `kprobe at ${nearestName(kernel, probe.at)}`,
    address: fromKernelOffset(slot),
    size: expected?.length ?? 0,
    ...settled(kernel, compared),
  };
}

/** arch_prepare_optimized_kprobe(): template, probe, call, the displaced instructions, jump back. */
function detourBytes(kernel: Kernel, probe: KprobeRecord, slot: KernelOffset): Uint8Array | undefined {
  const { memory, structures: s } = kernel;
  const label = (name: string): KernelOffset | undefined => {
    const at = kernel.find(`optprobe_template_${name}`);
    return at === undefined ? undefined : toKernelOffset(at);
  };
  const [entry, clac, value, call, end] = ["entry", "clac", "val", "call", "end"].map(label);
  const callback = kernel.find("optimized_callback");
  if (entry === undefined || value === undefined || call === undefined || end === undefined || !callback)
    return undefined;
  const length = end - entry;
  if (length <= 0 || length > MAX_TEMPLATE || probe.covered < 5) return undefined;
  const template = memory.tryRead(fromKernelOffset(entry), length);
  const original = originalBytes(kernel, probe);
  if (template === undefined || original === undefined) return undefined;
  const out = new Uint8Array(length + probe.covered + 5);
  out.set(template);
  // synthesize_clac(), since 5.1
  if (clac !== undefined && kernel.features.has(X86_FEATURE_SMAP)) out.set([0x0f, 0x01, 0xca], clac - entry);
  const op = addressAdd(probe.address, -s.offset("struct optimized_kprobe", "kp"));
  out.set([0x48, 0xbf], value - entry);
  new DataView(out.buffer).setBigUint64(value - entry + 2, op, true);
  const at = slot + call - entry;
  out.set(branch32(CALL, at, toKernelOffset(callback) ?? 0), call - entry);
  relocateReplacement(original, original.length, slot + length, probe.at, original.length);
  out.set(original, length);
  out.set(branch32(JMP32, slot + length + probe.covered, probe.at + probe.covered), length + probe.covered);
  return out;
}

/** The instructions under the probe: the saved bytes, and what the text holds behind them. */
function originalBytes(kernel: Kernel, probe: KprobeRecord, length = probe.covered): Uint8Array | undefined {
  const bytes = kernel.memory.tryRead(fromKernelOffset(probe.at), length)?.slice();
  if (bytes === undefined) return undefined;
  bytes[0] = probe.opcode;
  if (probe.armed === "jump") {
    if (probe.copied === undefined) return undefined;
    bytes.set(probe.copied, 1);
  }
  return bytes;
}
