// The kernel's own table of probes: which places hold a breakpoint or a jump, and where that leads (kernel/kprobes.c,
// arch/x86/kernel/kprobes/opt.c). Return probes and probe events are kprobes at their function's entry.

import { addressAdd, type KernelOffset, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { MissingError, PalimpsestError } from "../../bytes/errors.ts";
import { kept } from "../kept.ts";
import type { Kernel } from "../kernel.ts";
import { walkChain, walkList } from "../layouts/lists.ts";
import { isMutexHeld } from "./kernel-mutex.ts";

/** include/linux/kprobes.h; the same numbers since 2.6.38. */
export const KPROBE_FLAG = { GONE: 1, DISABLED: 2, OPTIMIZED: 4, FTRACE: 8 } as const;

/** KPROBE_TABLE_SIZE: 1 << KPROBE_HASH_BITS (6) in every release. */
const TABLE_SIZE = 64;
const MAX_PROBES = 1 << 16;

export interface KprobeRecord {
  /** Address of the struct kprobe (of the aggregate where several probes share the place). */
  readonly address: VirtualAddress;
  /** The probed place. */
  readonly at: KernelOffset;
  readonly flags: number;
  /** First byte of the original instruction, as the kernel saved it; 0 for probes through ftrace. */
  readonly opcode: number;
  /** What the place must hold: nothing of kprobes, an INT3, or a jump to `slot`. */
  readonly armed: "no" | "ftrace" | "int3" | "jump";
  /** An aggregate for several probes, or one that can be optimised. */
  readonly aggregate: boolean;
  /** Probes that share the place. */
  readonly probes: number;
  /** optinsn.insn: the detour buffer, once it is prepared. */
  readonly slot?: KernelOffset;
  /** optinsn.copied_insn: the four bytes behind the first that the jump overwrote. */
  readonly copied?: Uint8Array;
  /** ainsn.insn: the copy of the instruction for single stepping. */
  readonly copy?: VirtualAddress;
  /** optinsn.size: bytes of the instructions that the jump covers. */
  readonly covered: number;
}

export interface KprobeRecords {
  /** False when part of the table could not be read: there may be more probes than these. */
  readonly complete: boolean;
  /** The layout that is missing to read a probe; undefined when all could be read. */
  readonly unknown?: string;
  readonly probes: readonly KprobeRecord[];
  /** kprobes_all_disarmed: /sys/kernel/debug/kprobes/enabled is 0. */
  readonly allDisarmed: boolean;
  /** kprobe_mutex is held: somebody is arming, disarming or optimising. */
  readonly changing: boolean;
}

/** The probes, read once a kernel; undefined for a kernel without kprobes or without a symbol for their table. */
export function kprobeRecords(kernel: Kernel, problems: string[]): KprobeRecords | undefined {
  return kept(kernel, read, problems);
}

function read(kernel: Kernel, problems: string[]): KprobeRecords | undefined {
  try {
    return new Reader(kernel, problems).read() ?? undefined;
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    const unknown = error instanceof MissingError ? error.message : undefined;
    if (unknown === undefined) problems.push(`kprobes: ${error.message}`);
    return { complete: false, unknown, probes: [], allDisarmed: false, changing: false };
  }
}

const PROBE = "struct kprobe";
const OPTIMIZED = "struct optimized_kprobe";

class Reader {
  private readonly aggregate: VirtualAddress | undefined;
  private readonly queued: ReadonlySet<bigint>;
  private readonly allDisarmed: boolean;
  private complete = true;
  private unknown: string | undefined;

  constructor(
    private readonly kernel: Kernel,
    private readonly problems: string[],
  ) {
    this.aggregate = kernel.find("aggr_pre_handler");
    // On its way to a jump, or back from one: the text still holds, or holds again, an INT3.
    this.queued = new Set([...this.listed("optimizing_list"), ...this.listed("freeing_list")]);
    const disarmed = kernel.find("kprobes_all_disarmed");
    this.allDisarmed = disarmed !== undefined && kernel.memory.tryRead(disarmed, 1)?.[0] === 1;
  }

  read(): KprobeRecords | null {
    const { kernel } = this;
    const table = kernel.find("kprobe_table");
    if (table === undefined) {
      if (kernel.find("register_kprobe") !== undefined) {
        this.problems.push("kprobe_table has no symbol: probes are unknown");
        return { complete: false, probes: [], allDisarmed: false, changing: false };
      }
      return null;
    }
    const { memory, structures: s } = kernel;
    const heads = memory.tryRead(table, TABLE_SIZE * 8);
    if (heads === undefined) {
      this.problems.push("kprobe_table is not in the dump: probes are unknown");
      return { complete: false, probes: [], allDisarmed: this.allDisarmed, changing: false };
    }
    const view = new DataView(heads.buffer, heads.byteOffset, heads.length);
    const probes: KprobeRecord[] = [];
    for (let i = 0; i < TABLE_SIZE; i++) {
      const first = view.getBigUint64(i * 8, true) as VirtualAddress;
      if (first === 0n) continue;
      const walk = walkChain(memory, first, s.offset(PROBE, "hlist"), MAX_PROBES);
      if (walk.problem) {
        this.complete = false;
        this.problems.push(`kprobe_table[${i}]: ${walk.problem}`);
      }
      for (const address of walk.entries) {
        if (probes.length >= MAX_PROBES) break;
        const probe = this.probe(address);
        if (probe !== undefined) probes.push(probe);
      }
    }
    probes.sort((a, b) => a.at - b.at);
    const { complete, unknown, allDisarmed } = this;
    return { complete, unknown, probes, allDisarmed, changing: isMutexHeld(kernel, "kprobe_mutex") };
  }

  private probe(address: VirtualAddress): KprobeRecord | undefined {
    const { structures: s, memory } = this.kernel;
    try {
      const at = toKernelOffset(s.pointer(address, PROBE, "addr"));
      const flags = s.number(address, PROBE, "flags");
      if (at === undefined) return undefined;
      const aggregate = this.aggregate !== undefined && s.pointer(address, PROBE, "pre_handler") === this.aggregate;
      const list = addressAdd(address, s.offset(PROBE, "list"));
      const probes = aggregate ? walkList(memory, list, 0, MAX_PROBES).entries.length : 1;
      const optimized = aggregate ? this.optimized(address) : undefined;
      if (optimized === undefined && (flags & KPROBE_FLAG.OPTIMIZED) !== 0) {
        throw new MissingError(`the layout of ${OPTIMIZED}.optinsn.insn in ${s.types.origin}`);
      }
      return {
        address,
        at,
        flags,
        opcode: s.number(address, PROBE, "opcode"),
        armed: this.armed(flags, optimized),
        aggregate,
        probes,
        slot: optimized?.slot,
        copied: optimized?.copied,
        copy: s.has(PROBE, "ainsn.insn") ? s.pointer(address, PROBE, "ainsn.insn") : undefined,
        covered: optimized?.covered ?? 0,
      };
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      this.complete = false;
      if (error instanceof MissingError) this.unknown ??= error.message;
      else this.problems.push(`the kprobe at 0x${address.toString(16)}: ${error.message}`);
      return undefined;
    }
  }

  /** __arm_kprobe(), optimize_kprobe(), unoptimize_kprobe(): while a probe waits to be unoptimised its jump still stands. */
  private armed(flags: number, optimized: { slot?: KernelOffset; queued: boolean } | undefined): KprobeRecord["armed"] {
    if ((flags & KPROBE_FLAG.GONE) !== 0) return "no";
    if ((flags & KPROBE_FLAG.OPTIMIZED) !== 0 && optimized?.slot !== undefined && !optimized.queued) return "jump";
    if ((flags & KPROBE_FLAG.DISABLED) !== 0 || this.allDisarmed) return "no";
    return (flags & KPROBE_FLAG.FTRACE) !== 0 ? "ftrace" : "int3";
  }

  /** container_of(kp, struct optimized_kprobe, kp): every aggregate is one where the kernel can optimise. */
  private optimized(
    kp: VirtualAddress,
  ): { slot?: KernelOffset; copied?: Uint8Array; covered: number; queued: boolean } | undefined {
    const { structures: s, memory } = this.kernel;
    if (!s.has(OPTIMIZED, "optinsn.insn")) return undefined;
    const op = addressAdd(kp, -s.offset(OPTIMIZED, "kp"));
    const insn = s.pointer(op, OPTIMIZED, "optinsn.insn");
    const copied = s.find(OPTIMIZED, "optinsn.copied_insn");
    return {
      slot: insn === 0n ? undefined : toKernelOffset(insn),
      copied: copied === undefined ? undefined : memory.read(addressAdd(op, copied.offset), Math.min(4, copied.size)),
      covered: Math.min(64, s.number(op, OPTIMIZED, "optinsn.size")),
      queued: this.queued.has(op),
    };
  }

  /** The struct optimized_kprobe on one of the optimiser's lists. */
  private listed(symbol: string): readonly bigint[] {
    const { kernel } = this;
    const head = kernel.find(symbol);
    const list = kernel.structures.find(OPTIMIZED, "list");
    if (head === undefined || list === undefined) return [];
    const walk = walkList(kernel.memory, head, list.offset, MAX_PROBES);
    if (walk.problem) this.problems.push(`${symbol} of kprobes: ${walk.problem}`);
    return walk.entries;
  }
}
