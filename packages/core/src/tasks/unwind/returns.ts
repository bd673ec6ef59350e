// Return addresses that a tracer has replaced: function_graph and return probes put a trampoline of theirs into the stack
// and keep the true address with the task. The place on the stack tells which of the kept ones it is.
import { addressAdd, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { walkChain } from "../../kernel/layouts/lists.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";

const TASK = "struct task_struct";
/** FTRACE_RETFUNC_DEPTH entries, or SHADOW_STACK_SIZE bytes since 6.11 (kernel/trace/fgraph.c). */
const RETFUNC_DEPTH = 50;
const SHADOW_STACK = 4096;
/** Probes that may be pending on one task. */
const MAX_NODES = 256;

/** What keeps the true address of a return probe: rethook_node since 5.18, kretprobe_instance in 5.11 and after. */
const PENDING = [
  { list: "rethooks.first", node: "struct rethook_node", link: "llist", address: "ret_addr", place: "frame" },
  {
    list: "kretprobe_instances.first",
    node: "struct kretprobe_instance",
    link: "llist",
    address: "ret_addr",
    place: "fp",
  },
] as const;

export class ReplacedReturns {
  private readonly graph: VirtualAddress | undefined;
  private readonly probes: ReadonlySet<bigint>;

  constructor(private readonly kernel: Kernel) {
    this.graph = kernel.find("return_to_handler");
    const names = ["arch_rethook_trampoline", "__kretprobe_trampoline", "kretprobe_trampoline"];
    this.probes = new Set(names.flatMap((name) => kernel.find(name) ?? []));
  }

  /** Whether a word of the stack is such a trampoline instead of a return address. */
  is(address: bigint): boolean {
    return address === this.graph || this.probes.has(address);
  }

  /**
   * The true return address.
   * @param at where on the stack the replaced one lies
   */
  resolve(task: VirtualAddress, address: bigint, at: bigint): VirtualAddress | undefined {
    try {
      return address === this.graph ? this.fromGraph(task, at) : this.fromProbes(task, at);
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  private fromGraph(task: VirtualAddress, at: bigint): VirtualAddress | undefined {
    const { structures: s, memory, types } = this.kernel;
    const ret = s.find("struct ftrace_ret_stack", "ret");
    const place = s.find("struct ftrace_ret_stack", "retp");
    const size = types.sizeOf("struct ftrace_ret_stack");
    if (ret === undefined || place === undefined || size === undefined || !s.has(TASK, "ret_stack")) return undefined;
    const stack = s.pointer(task, TASK, "ret_stack");
    if (stack === 0n) return undefined;
    // Since 6.11 (7aa1eaef9f42) entries are of different sizes: whatever they are, the place on the stack is unique.
    const bytes =
      memory.tryRead(stack, Math.max(RETFUNC_DEPTH * size, SHADOW_STACK)) ??
      memory.tryRead(stack, RETFUNC_DEPTH * size);
    if (bytes === undefined) return undefined;
    // The newest entry of a place counts.
    for (let i = bytes.length - 8; i >= place.offset; i -= 8) {
      const entry = i - place.offset;
      if (getU64(bytes, i) === at && entry >= 0) return virtualAddress(getU64(bytes, entry + ret.offset));
    }
    return undefined;
  }

  private fromProbes(task: VirtualAddress, at: bigint): VirtualAddress | undefined {
    const { structures: s, memory } = this.kernel;
    for (const { list, node, link, address, place } of PENDING) {
      const head = s.find(TASK, list);
      const next = s.find(node, link);
      const told = s.find(node, address);
      const where = s.find(node, place);
      if (head === undefined || next === undefined || told === undefined || where === undefined) continue;
      const first = memory.pointer(addressAdd(task, head.offset));
      for (const entry of walkChain(memory, first, next.offset, MAX_NODES).entries) {
        if (memory.u64(addressAdd(entry, where.offset)) !== at) continue;
        return memory.pointer(addressAdd(entry, told.offset));
      }
    }
    return undefined;
  }
}
