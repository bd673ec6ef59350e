// What the code of a dump needs around it to run on model CPUs: per-CPU areas, preemption counts, and the functions through
// which a kernel sleeps and is woken by its hypervisor.

import { addressAdd, virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { machineOf } from "../../kernel/machine.ts";
import type { CodeMemory, Environment, Hook, Preset } from "../types.ts";
import { withoutTracing } from "./without-tracing.ts";

/** Made-up per-CPU areas of CPUs that this machine did not have: copies of CPU 0's, far from everything else. */
const ALIAS_BASE = 0x7en << 40n;
const ALIAS_STEP = 0x1000_0000n;
/** More than the per-CPU area of any kernel. */
const AREA_LIMIT = 16n << 20n;

export interface DumpEnvironment {
  readonly memory: CodeMemory;
  readonly gsBases: readonly bigint[];
  readonly presets: readonly Preset[];
  readonly environment: Environment;
  /** What was made up, in words. */
  readonly assumptions: readonly string[];
}

function bytes(value: bigint, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = Number((value >> BigInt(8 * i)) & 0xffn);
  return out;
}

/** Reads the copies of CPU 0's area out of the original. */
class AliasMemory implements CodeMemory {
  constructor(
    private readonly memory: CodeMemory,
    private readonly original: bigint,
  ) {}
  read(address: Parameters<CodeMemory["read"]>[0], length: number): Uint8Array {
    if (address >= ALIAS_BASE && address < ALIAS_BASE + 64n * ALIAS_STEP) {
      return this.memory.read(virtualAddress(this.original + ((address - ALIAS_BASE) % ALIAS_STEP)), length);
    }
    return this.memory.read(address, length);
  }
}

/**
 * Functions of the kernel that end in a hypercall or an interrupt, and what they mean to the model. The lock code above
 * them runs as it is. arch/x86/xen/spinlock.c (2.6.27 and newer), arch/x86/hyperv/hv_spinlock.c, whose kick goes through
 * the APIC driver; KVM's HLT and VMCALL and Hyper-V's idle register are executed by the machine itself.
 */
const HOOKS: readonly (readonly [string, (address: bigint) => Hook])[] = [
  ["xen_clear_irq_pending", (address) => ({ address, kind: "pending-clear" })],
  ["xen_set_irq_pending", (address) => ({ address, kind: "pending-set" })],
  ["xen_test_irq_pending", (address) => ({ address, kind: "pending-test" })],
  ["xen_poll_irq", (address) => ({ address, kind: "wait", consume: false })],
  ["xen_poll_irq_timeout", (address) => ({ address, kind: "wait", consume: false })],
  ["xen_send_IPI_one", (address) => ({ address, kind: "kick", cpu: "rdi" })],
  ["hv_qlock_kick", (address) => ({ address, kind: "kick", cpu: "rdi" })],
  // Interrupt statistics and tracing are no part of the lock.
  ["kstat_incr_irqs_this_cpu", (address) => ({ address, kind: "return" })],
  ["kstat_incr_irq_this_cpu", (address) => ({ address, kind: "return" })],
];

/**
 * Builds the surroundings for `cpus` model CPUs.
 * @param paravirtQueued the pair may reach __pv_queued_spin_lock_slowpath()
 */
export function dumpEnvironment(kernel: Kernel, cpus: number, paravirtQueued: boolean): DumpEnvironment {
  const { memory } = kernel;
  const assumptions: string[] = [];
  const presets: Preset[] = [];
  const gsBases: bigint[] = [];
  const table = kernel.find("__per_cpu_offset");
  const possible = table === undefined ? 0 : Math.min(machineOf(kernel).possible ?? 1, 64);
  const preset = (address: bigint, value: bigint, length: number): void => {
    presets.push({ address: BigInt.asUintN(64, address), bytes: bytes(value, length) });
  };
  const start = kernel.find("__per_cpu_start") ?? 0n;
  let first: bigint | undefined;
  for (let cpu = 0; cpu < cpus; cpu++) {
    const own = table === undefined || cpu >= possible ? undefined : memory.tryRead(addressAdd(table, cpu * 8), 8);
    if (own !== undefined) {
      gsBases.push(getU64(own, 0));
      first ??= gsBases[0];
      continue;
    }
    if (table === undefined || first === undefined) {
      gsBases.push(0n);
      continue;
    }
    // The area itself lies at start + offset; the copy's offset is such that it lands at the alias.
    const offset = BigInt.asUintN(64, ALIAS_BASE + BigInt(cpu) * ALIAS_STEP - start);
    gsBases.push(offset);
    preset(addressAdd(table, cpu * 8), offset, 8);
    assumptions.push(`CPU ${cpu} does not exist in this machine: it gets a copy of CPU 0's per-CPU data`);
  }
  const original = first === undefined ? 0n : BigInt.asUintN(64, first + start);
  const readable: CodeMemory = assumptions.length > 0 ? new AliasMemory(memory, original) : memory;
  const perCpu = (
    symbol: string,
    length: number,
    value: (cpu: number) => bigint,
    only = (_: number): boolean => true,
  ): void => {
    const at = kernel.find(symbol);
    if (at === undefined || at - start > AREA_LIMIT) return;
    gsBases.forEach((base, cpu) => {
      if (only(cpu) && base !== 0n) preset(base + at, value(cpu), length);
    });
  };
  const isAlias = (cpu: number): boolean => cpu >= possible;
  perCpu("cpu_number", 4, (cpu) => BigInt(cpu), isAlias);
  perCpu("this_cpu_off", 8, (cpu) => gsBases[cpu], isAlias);
  const count = preemptCount(kernel, gsBases.slice(0, possible));
  perCpu("__preempt_count", count.length, () => count.value);
  const hot = kernel.find("pcpu_hot");
  const inside = kernel.structures.find("struct pcpu_hot", "preempt_count")?.offset;
  if (hot !== undefined && inside !== undefined && kernel.find("__preempt_count") === undefined) {
    gsBases.forEach((base) => {
      if (base !== 0n) preset(base + hot + BigInt(inside), 0x80000001n, 4);
    });
    const number = kernel.structures.find("struct pcpu_hot", "cpu_number")?.offset;
    gsBases.forEach((base, cpu) => {
      if (number !== undefined && isAlias(cpu) && base !== 0n) preset(base + hot + BigInt(number), BigInt(cpu), 4);
    });
  }
  // A kernel that is no Xen guest has no kicker interrupt; the model's CPUs have one each, or nobody could be woken.
  perCpu("lock_kicker_irq", 4, (cpu) => BigInt(cpu + 1));
  perCpu("irq_count", 4, () => 0xffffffffn);
  // A vCPU that waits holds this up; the model's CPUs start outside of locks, whatever the dump's were doing.
  perCpu("xen_qlock_wait_nest", 4, () => 0n);
  const apicIds = apicIdsOf(kernel, gsBases, possible, preset);
  if (bringOnline(kernel, cpus, preset)) assumptions.push(`all ${cpus} CPUs of the model are online`);
  const hooks: Hook[] = [];
  for (const [name, make] of HOOKS) {
    const at = kernel.find(name);
    if (at !== undefined) hooks.push(make(at));
  }
  const traced = withoutTracing(kernel);
  hooks.push(...traced.hooks);
  assumptions.push(...traced.assumptions);
  presets.push(...traced.presets);
  const hypervisor = (machineOf(kernel).hypervisor ?? "").startsWith("Xen") ? "xen" : "kvm";
  return {
    memory: readable,
    gsBases,
    presets: paravirtQueued ? [...presets, ...pvHash(kernel, assumptions)] : presets,
    environment: { hooks, hypervisor, apicIds },
    assumptions,
  };
}

/**
 * A per-CPU preempt count of 1, as inside of a lock: PREEMPT_NEED_RESCHED is stored inverted in the top bit of 32 (3.13 and
 * newer) or, where the count has NMI bits at 28 … 31, of 64 bits. The counts in the dump tell which.
 */
function preemptCount(kernel: Kernel, gsBases: readonly bigint[]): { length: number; value: bigint } {
  const short = { length: 4, value: 0x8000_0001n };
  const at = kernel.find("__preempt_count");
  if (at === undefined) return short;
  let long = false;
  for (const base of gsBases) {
    const now = kernel.memory.tryRead(virtualAddress(BigInt.asUintN(64, base + at)), 8);
    if (now === undefined) continue;
    const value = getU64(now, 0);
    if ((value & 0x8000_0000n) !== 0n) return short;
    long ||= value >> 32n === 0x8000_0000n;
  }
  return long ? { length: 8, value: 0x8000_0000_0000_0001n } : short;
}

/**
 * What each model CPU's kick names: x86_cpu_to_apicid, a u16 or (6.8 and newer) a u32 a CPU. A made-up CPU, whose area is a
 * copy of CPU 0's, gets an id that no other has.
 */
function apicIdsOf(
  kernel: Kernel,
  gsBases: readonly bigint[],
  possible: number,
  preset: (address: bigint, value: bigint, length: number) => void,
): number[] | undefined {
  const at = kernel.find("x86_cpu_to_apicid");
  if (at === undefined) return undefined;
  const ids: number[] = [];
  for (const [cpu, base] of gsBases.entries()) {
    const now = cpu < possible ? kernel.memory.tryRead(virtualAddress(BigInt.asUintN(64, base + at)), 2) : undefined;
    let id = now === undefined ? cpu : now[0] | (now[1] << 8);
    while (ids.includes(id)) id++;
    if (base !== 0n) preset(base + at, BigInt(id), 2);
    ids.push(id);
  }
  return ids;
}

/**
 * A releasing CPU looks for sleepers among the online ones: the model's CPUs must be there.
 * @returns whether one of them was not
 */
function bringOnline(
  kernel: Kernel,
  cpus: number,
  preset: (address: bigint, value: bigint, length: number) => void,
): boolean {
  const wanted = (1n << BigInt(cpus)) - 1n;
  let changed = false;
  // 4.5 and newer: __cpu_online_mask; before: cpu_online_bits, reached through the pointer cpu_online_mask.
  for (const names of [
    ["__cpu_online_mask", "cpu_online_bits"],
    ["__cpu_possible_mask", "cpu_possible_bits"],
    ["__cpu_present_mask", "cpu_present_bits"],
    ["__cpu_active_mask", "cpu_active_bits"],
  ]) {
    const at = names.map((name) => kernel.find(name)).find((found) => found !== undefined);
    const now = at === undefined ? undefined : kernel.memory.tryRead(at, 8);
    if (at === undefined || now === undefined || (getU64(now, 0) & wanted) === wanted) continue;
    preset(at, getU64(now, 0) | wanted, 8);
    changed = true;
  }
  const ids = kernel.find("nr_cpu_ids");
  if (ids !== undefined && changed) preset(ids, BigInt(Math.max(cpus, machineOf(kernel).possible ?? 1)), 4);
  return changed;
}

/**
 * Paravirt queued locks keep waiting CPUs in a hash table that __pv_init_lock_hash() allocates at boot; a kernel that
 * did not choose them has none, so the model lends it an empty one.
 */
function pvHash(kernel: Kernel, assumptions: string[]): Preset[] {
  const table = kernel.find("pv_lock_hash");
  const bits = kernel.find("pv_lock_hash_bits");
  if (table === undefined || bits === undefined) return [];
  const now = kernel.memory.tryRead(table, 8);
  if (now === undefined || now.some((byte) => byte !== 0)) return [];
  assumptions.push(
    "this kernel has no table of waiting CPUs (pv_lock_hash): an empty one of 256 entries is lent to it",
  );
  return [
    { address: table, bytes: bytes(PV_HASH, 8) },
    { address: bits, bytes: bytes(8n, 4) },
  ];
}

/** In the model's own region, which starts as zeros. */
const PV_HASH = 0x7d06_0000_0000n;
