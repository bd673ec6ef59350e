// struct ftrace_hash: the sets of functions that an ftrace_ops traces or leaves out, and the direct trampolines
// (kernel/trace/ftrace.c).

import { addressAdd, type KernelOffset, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { MissingError, PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../kernel.ts";
import { walkChain } from "../layouts/lists.ts";
import { getU64 } from "../layouts/little-endian.ts";

const HASH = "struct ftrace_hash";
const ENTRY = "struct ftrace_func_entry";
const OPS = "struct ftrace_ops";
const MAX_BITS = 20;

/** What is needed of an ftrace_ops to find its direct trampoline. */
export interface TracingOps {
  readonly address: VirtualAddress;
  traces(ip: KernelOffset): boolean;
}

interface Content {
  /** ip → direct trampoline (0 where there is none) */
  readonly entries: ReadonlyMap<KernelOffset, bigint>;
}

export class FtraceHashes {
  private readonly contents = new Map<bigint, Content | undefined>();
  /** Why no hash of this kernel can be read: its layout is unknown. */
  unknown: string | undefined;

  constructor(
    private readonly kernel: Kernel,
    private readonly problems: string[],
  ) {}

  /** hash_contains_ip() for the ops: in its filter (or that is empty) and not in its notrace hash. */
  of(ops: VirtualAddress): (ip: KernelOffset) => boolean {
    const { structures: s } = this.kernel;
    // func_hash -> struct ftrace_ops_hash {notrace_hash, filter_hash} since 3.18; the members lay in ftrace_ops before.
    let filter: VirtualAddress | undefined;
    let notrace: VirtualAddress | undefined;
    try {
      if (s.has(OPS, "func_hash")) {
        const hash = s.pointer(ops, OPS, "func_hash");
        if (hash !== 0n) {
          filter = s.pointer(hash, "struct ftrace_ops_hash", "filter_hash");
          notrace = s.pointer(hash, "struct ftrace_ops_hash", "notrace_hash");
        }
      } else if (s.has(OPS, "filter_hash")) {
        filter = s.pointer(ops, OPS, "filter_hash");
        notrace = s.pointer(ops, OPS, "notrace_hash");
      }
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      this.tell(`the hashes of ftrace_ops 0x${ops.toString(16)}`, error);
    }
    return this.test(filter, notrace);
  }

  private tell(what: string, error: PalimpsestError): void {
    if (error instanceof MissingError) this.unknown ??= error.message;
    else this.problems.push(`${what}: ${error.message}`);
  }

  /** The same by ops->old_hash: what the ops traced before the change that is under way (since 3.18). */
  ofOld(ops: VirtualAddress): ((ip: KernelOffset) => boolean) | undefined {
    const { structures: s } = this.kernel;
    const path = "old_hash.filter_hash";
    if (!s.has(OPS, path) || !s.has(OPS, "old_hash.notrace_hash")) return undefined;
    const hashes = ["filter_hash", "notrace_hash"].map((name) =>
      this.pointerAt(addressAdd(ops, s.offset(OPS, `old_hash.${name}`))),
    );
    return this.test(hashes[0], hashes[1]);
  }

  private test(filter: VirtualAddress | undefined, notrace: VirtualAddress | undefined): (ip: KernelOffset) => boolean {
    return (ip) => {
      const inFilter = this.content(filter);
      if (inFilter !== undefined && inFilter.entries.size > 0 && !inFilter.entries.has(ip)) return false;
      return this.content(notrace)?.entries.has(ip) !== true;
    };
  }

  /** The direct trampoline registered for a site: in direct_functions, or in the ops' own hashes. */
  direct(ip: KernelOffset, ops: readonly TracingOps[]): VirtualAddress | undefined {
    const at = this.kernel.find("direct_functions");
    const global = at === undefined ? undefined : this.content(this.pointerAt(at));
    const found = global?.entries.get(ip);
    if (found !== undefined && found !== 0n) return found as VirtualAddress;
    const { structures: s } = this.kernel;
    for (const each of ops) {
      if (s.has(OPS, "direct_call") && each.traces(ip)) {
        const call = s.pointer(each.address, OPS, "direct_call");
        if (call !== 0n) return call;
      }
    }
    return undefined;
  }

  private pointerAt(at: VirtualAddress): VirtualAddress | undefined {
    const bytes = this.kernel.memory.tryRead(at, 8);
    return bytes === undefined ? undefined : (getU64(bytes, 0) as VirtualAddress);
  }

  private content(hash: VirtualAddress | undefined): Content | undefined {
    if (hash === undefined || hash === 0n) return undefined;
    if (this.contents.has(hash)) return this.contents.get(hash);
    let content: Content | undefined;
    try {
      content = this.read(hash);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      this.tell(`the ftrace hash 0x${hash.toString(16)}`, error);
    }
    this.contents.set(hash, content);
    return content;
  }

  private read(hash: VirtualAddress): Content {
    const { structures: s, memory } = this.kernel;
    const entries = new Map<KernelOffset, bigint>();
    const bits = s.number(hash, HASH, "size_bits");
    const count = s.number(hash, HASH, "count");
    if (count === 0 || bits > MAX_BITS) return { entries };
    const buckets = s.pointer(hash, HASH, "buckets");
    const ipAt = s.offset(ENTRY, "ip");
    const directAt = s.find(ENTRY, "direct")?.offset;
    for (let i = 0; i < 1 << bits; i++) {
      const first = memory.pointer(addressAdd(buckets, i * 8));
      if (first === 0n) continue;
      const chain = walkChain(memory, first, s.offset(ENTRY, "hlist"), 1 << 16);
      if (chain.problem) this.problems.push(`an ftrace hash bucket: ${chain.problem}`);
      for (const entry of chain.entries) {
        const ip = toKernelOffset(memory.u64(addressAdd(entry, ipAt)));
        if (ip !== undefined) entries.set(ip, directAt === undefined ? 0n : memory.u64(addressAdd(entry, directAt)));
      }
    }
    return { entries };
  }
}
