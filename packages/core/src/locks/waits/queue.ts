// The queue of a queued spinlock: per-CPU MCS nodes in use, and which lock a node waits for. Only the lock's tail names a
// node; from any node the chain of next pointers leads to the last one, which the tail must name.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { PerCpu } from "../../tasks/per-cpu.ts";
import { encodeTail } from "../words/qspinlock.ts";

export interface QueueNode {
  readonly cpu: number;
  /** 0 … 3: one node a context */
  readonly index: number;
  readonly address: VirtualAddress;
  /** mcs.locked: 1 when it is the head of its queue */
  readonly head: boolean;
  readonly next: VirtualAddress;
  /** pv_node.state: 0 running, 1 halted, 2 hashed; only where the kernel has paravirt nodes */
  readonly state: number | undefined;
}

const NODES = 4;
const MCS = "struct mcs_spinlock";

/** All nodes in use, by CPU. */
export class SpinQueues {
  readonly nodes: readonly QueueNode[];
  /** CPUs whose nodes could be read. */
  readonly readable: ReadonlySet<number>;
  private readonly byAddress = new Map<bigint, QueueNode>();

  constructor(kernel: Kernel, perCpu: PerCpu, cpus: readonly number[]) {
    const nodes: QueueNode[] = [];
    const readable = new Set<number>();
    const s = kernel.structures;
    // qnodes since 5.1, mcs_nodes since 4.2 (kernel/locking/qspinlock.c)
    const symbol = ["qnodes", "mcs_nodes"].find((name) => kernel.find(name) !== undefined);
    const next = s.find(MCS, "next")?.offset ?? 0;
    const locked = s.find(MCS, "locked")?.offset ?? 8;
    const count = s.find(MCS, "count")?.offset ?? 12;
    const stride = symbol === "qnodes" ? (kernel.types.sizeOf("struct qnode") ?? 32) : (kernel.types.sizeOf(MCS) ?? 16);
    const state = s.find("struct pv_node", "state")?.offset;
    for (const cpu of symbol === undefined ? [] : cpus) {
      const base = perCpu.address(symbol ?? "", cpu);
      if (base === undefined) continue;
      try {
        // The first node counts the nesting for all four.
        const used = Math.min(kernel.memory.u32(addressAdd(base, count)), NODES);
        for (let index = 0; index < used; index++) {
          const address = addressAdd(base, index * stride);
          const node = {
            cpu,
            index,
            address,
            head: kernel.memory.u32(addressAdd(address, locked)) !== 0,
            next: kernel.memory.pointer(addressAdd(address, next)),
            state: state === undefined || stride < state + 1 ? undefined : kernel.memory.u8(addressAdd(address, state)),
          };
          nodes.push(node);
          this.byAddress.set(address, node);
        }
        readable.add(cpu);
      } catch (error) {
        if (!(error instanceof PalimpsestError)) throw error;
      }
    }
    this.nodes = nodes;
    this.readable = readable;
  }

  /** The tail that a lock has whose queue this node is in; undefined when the chain of nodes breaks or loops. */
  tailOf(node: QueueNode): number | undefined {
    const seen = new Set<bigint>();
    let at = node;
    while (at.next !== 0n) {
      if (seen.has(at.address)) return undefined;
      seen.add(at.address);
      const next = this.byAddress.get(at.next);
      if (next === undefined) return undefined;
      at = next;
    }
    return encodeTail(at.cpu, at.index);
  }

  /** Nodes in the queue of a lock with this tail. Those that wait first come first. */
  queueOf(tail: number): QueueNode[] {
    if (tail === 0) return [];
    const members = this.nodes.filter((node) => this.tailOf(node) === tail);
    const distance = (node: QueueNode): number => {
      let steps = 0;
      for (
        let at: QueueNode | undefined = node;
        at !== undefined && at.next !== 0n && steps <= members.length;
        steps++
      ) {
        at = this.byAddress.get(at.next);
      }
      return steps;
    };
    return members.sort((a, b) => distance(b) - distance(a));
  }
}
