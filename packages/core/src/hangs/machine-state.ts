// What the kernel's own watchdogs look at: since when a CPU has not run its watchdog, which CPUs and tasks a grace period
// waits for, which CPU has not answered a call. Read from the dump, whether or not the watchdogs spoke.
import { addressAdd, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { walkChain, walkList } from "../kernel/layouts/lists.ts";
import { getU32, getU64 } from "../kernel/layouts/little-endian.ts";
import { machineOf } from "../kernel/machine.ts";
import type { PerCpu } from "../tasks/per-cpu.ts";

const NEVER = 1n << 58n;

export class MachineState {
  constructor(
    private readonly kernel: Kernel,
    private readonly perCpu: PerCpu,
  ) {}

  get online(): readonly number[] {
    const { online } = machineOf(this.kernel);
    return online.length > 0 ? online : this.kernel.dump.cpus.map(({ index }) => index);
  }

  private u64(address: VirtualAddress | undefined): bigint | undefined {
    const bytes = address && this.kernel.memory.tryRead(address, 8);
    return bytes && getU64(bytes, 0);
  }

  private u32(symbol: string): number | undefined {
    const at = this.kernel.find(symbol);
    const bytes = at && this.kernel.memory.tryRead(at, 4);
    return bytes && getU32(bytes, 0);
  }

  private clock(cpu: number): bigint | undefined {
    const clock = this.kernel.structures.find("struct rq", "clock");
    const rq = clock && this.perCpu.address("runqueues", cpu);
    const value = rq && this.u64(addressAdd(rq, clock.offset));
    return value === undefined || value > NEVER ? undefined : value;
  }

  /** ns: the newest runqueue clock of all CPUs. */
  get now(): bigint | undefined {
    let newest: bigint | undefined;
    for (const cpu of this.online) {
      const clock = this.clock(cpu);
      if (clock !== undefined && (newest === undefined || clock > newest)) newest = clock;
    }
    return newest;
  }

  /** watchdog_thresh, in seconds; 10 where it is not told. */
  get watchdogSeconds(): number {
    const told = this.u32("watchdog_thresh");
    return told !== undefined && told > 0 && told <= 60 ? told : 10;
  }

  /** rcu_cpu_stall_timeout, in seconds; 21 where it is not told. */
  get stallSeconds(): number {
    const told = this.u32("rcu_cpu_stall_timeout");
    return told !== undefined && told > 0 && told <= 300 ? told : 21;
  }

  /** sysctl_hung_task_timeout_secs; 120 where it is off or not told. */
  get hungTaskSeconds(): number {
    const told = this.u32("sysctl_hung_task_timeout_secs");
    return told !== undefined && told > 0 && told < 1 << 20 ? told : 120;
  }

  /** Seconds since the CPU ran its watchdog (watchdog_touch_ts, kernel/watchdog.c); undefined when it has none. */
  sinceWatchdog(cpu: number): number | undefined {
    // WATCHDOG_SOFTLOCKUP_ENABLED: switched off, the time stamps stand still.
    if (((this.u32("watchdog_enabled") ?? 2) & 2) === 0) return undefined;
    const touched = this.u64(this.perCpu.address("watchdog_touch_ts", cpu));
    const now = this.now;
    if (touched === undefined || now === undefined || touched === 0n || touched > NEVER) return undefined;
    const passed = Number((now >> 30n) - touched);
    return Math.max(passed, 0);
  }

  /** Seconds that the clock of the CPU's runqueue is behind: without interrupts it stands still. */
  clockBehind(cpu: number): number | undefined {
    const [now, own] = [this.now, this.clock(cpu)];
    return now === undefined || own === undefined ? undefined : Number((now - own) / 1_000_000n) / 1000;
  }

  /** Calls that a CPU has been sent and has not run: addresses of their struct __call_single_data. */
  pendingCalls(cpu: number): readonly VirtualAddress[] {
    const queue = this.perCpu.address("call_single_queue", cpu);
    const first = this.u64(queue);
    if (first === undefined || first === 0n) return [];
    return walkChain(this.kernel.memory, virtualAddress(first), 0, 1024).entries;
  }

  /** The grace period that is under way: who has not passed it (kernel/rcu/tree.h). */
  gracePeriod():
    | {
        readonly cpus: readonly number[];
        readonly tasks: readonly VirtualAddress[];
        readonly seconds: number | undefined;
      }
    | undefined {
    const { structures: s } = this.kernel;
    const state = this.kernel.find("rcu_state");
    if (state === undefined || !s.has("struct rcu_state", "gp_seq") || !s.has("struct rcu_data", "grpmask"))
      return undefined;
    try {
      if ((s.unsigned(state, "struct rcu_state", "gp_seq") & 3n) === 0n) return undefined;
      const cpus: number[] = [];
      const nodes = new Set<VirtualAddress>();
      for (const cpu of this.online) {
        const data = this.perCpu.address("rcu_data", cpu);
        if (data === undefined) continue;
        const node = s.pointer(data, "struct rcu_data", "mynode");
        nodes.add(node);
        const mask = s.unsigned(data, "struct rcu_data", "grpmask");
        if ((s.unsigned(node, "struct rcu_node", "qsmask") & mask) !== 0n) cpus.push(cpu);
      }
      return {
        cpus,
        tasks: [...nodes].flatMap((node) => this.blockedReaders(node)),
        seconds: this.graceSeconds(state),
      };
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      return undefined;
    }
  }

  /** Tasks that were preempted inside a reader: from gp_tasks to the list's end they hold up this grace period. */
  private blockedReaders(node: VirtualAddress): VirtualAddress[] {
    const { structures: s } = this.kernel;
    const entry = s.find("struct task_struct", "rcu_node_entry");
    const list = s.find("struct rcu_node", "blkd_tasks");
    if (entry === undefined || list === undefined || !s.has("struct rcu_node", "gp_tasks")) return [];
    const first = s.pointer(node, "struct rcu_node", "gp_tasks");
    if (first === 0n) return [];
    const { entries } = walkList(this.kernel.memory, addressAdd(node, list.offset), 0, 65536);
    const from = entries.indexOf(first);
    return from < 0 ? [] : entries.slice(from).map((each) => addressAdd(each, -entry.offset));
  }

  private graceSeconds(state: VirtualAddress): number | undefined {
    const { structures: s } = this.kernel;
    const jiffies = this.u64(this.kernel.find("jiffies_64") ?? this.kernel.find("jiffies"));
    const now = this.now;
    if (jiffies === undefined || now === undefined || !s.has("struct rcu_state", "gp_start")) return undefined;
    const started = s.unsigned(state, "struct rcu_state", "gp_start");
    // Jiffies begin five minutes below 2^32 (INITIAL_JIFFIES): the clock tells how many a second has.
    const off = (hz: number): number =>
      Math.abs((Number(jiffies) - (2 ** 32 - 300 * hz)) / hz - Number(now / 1_000_000n) / 1000);
    const hz = [100, 250, 300, 1000].reduce((best, each) => (off(each) < off(best) ? each : best));
    const passed = Number(jiffies - started) / hz;
    return passed >= 0 && passed < 1e9 ? passed : undefined;
  }
}
