// The hypervisor and the hardware as far as locks need them: sleeping, waking and event bits. Each operation is local,
// or one atomic step on one word, or a wait for a bit of one word. Time does not pass by itself: only a kick wakes.
import { formatAddress } from "../../bytes/brand.ts";
import { UnsupportedError } from "../../bytes/errors.ts";
import type { Environment, Hook } from "../types.ts";
import { modelName, pendingFlag } from "./model-addresses.ts";
import type { Bus } from "./operation.ts";
import { type CpuRegisterFile, RAX, RCX, RDI, RDX, RSI, RSP, registerNumber, type Size } from "./registers.ts";

/** One step of the environment. `finish` runs afterwards with the word's old value and may change registers. */
export type EnvironmentStep =
  | { readonly kind: "local"; finish(cpu: CpuRegisterFile, bus: Bus): void }
  | {
      readonly kind: "atomic";
      readonly address: bigint;
      readonly size: Size;
      change(old: bigint): bigint;
      finish(cpu: CpuRegisterFile, bus: Bus, old: bigint): void;
    }
  | {
      readonly kind: "wait";
      readonly address: bigint;
      readonly size: Size;
      /** sleeps while (value & mask) is 0 */
      readonly mask: bigint;
      /** clears the mask on waking */
      readonly consume: boolean;
      finish(cpu: CpuRegisterFile, bus: Bus): void;
    };

/** HV_X64_MSR_GUEST_IDLE: reading it sleeps until an interrupt, with interrupts off too (hv_spinlock.c, since 4.20) */
const GUEST_IDLE = 0x4000_00f0n;
/** include/uapi/linux/kvm_para.h, since 3.12 */
const KVM_HC_KICK_CPU = 5n;
/** include/xen/interface/xen.h */
const HYPERVISOR_SCHED_OP = 29n;
const HYPERVISOR_EVENT_CHANNEL_OP = 32n;
/** include/xen/interface/sched.h */
const SCHEDOP_YIELD = 0n;
const SCHEDOP_BLOCK = 1n;
const SCHEDOP_POLL = 3n;
/** include/xen/interface/event_channel.h */
const EVTCHNOP_SEND = 4n;
/** offsetof(struct shared_info, evtchn_pending) on x86-64: after 32 vcpu_info of 64 bytes */
const EVTCHN_PENDING = 0x800n;
const MAX_EVENT_CHANNELS = 4096n;

function returnToCaller(cpu: CpuRegisterFile, bus: Bus): void {
  cpu.rip = bus.load(cpu.general[RSP], 8);
  cpu.general[RSP] += 8n;
}

export class EnvironmentModel {
  private readonly hooks: ReadonlyMap<bigint, Hook>;

  constructor(
    private readonly spec: Environment,
    private readonly cpus: number,
  ) {
    this.hooks = new Map((spec.hooks ?? []).map((hook) => [hook.address, hook]));
  }

  get spuriousWakeups(): boolean {
    return this.spec.spuriousWakeups === true;
  }

  isHooked(address: bigint): boolean {
    return this.hooks.has(address);
  }

  /** "wakes", "kick: pending flag of CPU 1": what a step does, for the witness. */
  describe(address: bigint, step: EnvironmentStep): string {
    const hook = this.hooks.get(address)?.kind;
    if (step.kind === "local") return hook === undefined ? "hypercall" : `${hook}: nothing to do`;
    const place = modelName(step.address) ?? formatAddress(step.address);
    return `${hook ?? (step.kind === "wait" ? "wait" : "kick")}: ${place.replace(/[()]/g, "")}`;
  }

  /** What happens instead of the code at `address`; undefined when it is ordinary code. @throws UnsupportedError */
  hookAt(address: bigint, index: number, cpu: CpuRegisterFile, bus: Bus): EnvironmentStep | undefined {
    const hook = this.hooks.get(address);
    if (hook === undefined) return undefined;
    const own = pendingFlag(index);
    switch (hook.kind) {
      case "return":
        return {
          kind: "local",
          finish: (c, b) => {
            if (hook.value !== undefined) c.general[RAX] = hook.value;
            returnToCaller(c, b);
          },
        };
      case "wait":
        return { kind: "wait", address: own, size: 8, mask: 1n, consume: hook.consume, finish: returnToCaller };
      case "kick": {
        const target = pendingFlag(this.cpuNumber(cpu.general[registerNumber(hook.cpu)] & 0xffff_ffffn, address));
        return { kind: "atomic", address: target, size: 8, change: () => 1n, finish: returnToCaller };
      }
      case "pending-clear":
        return { kind: "atomic", address: own, size: 8, change: () => 0n, finish: returnToCaller };
      case "pending-set":
        return { kind: "atomic", address: own, size: 8, change: () => 1n, finish: returnToCaller };
      case "pending-test":
        return {
          kind: "atomic",
          address: own,
          size: 8,
          change: (old) => old,
          finish: (c, b, old) => {
            c.general[RAX] = old;
            returnToCaller(c, b);
          },
        };
      case "hypercall":
        return this.xenHypercall(BigInt(hook.number), cpu, bus, address, returnToCaller);
    }
  }

  /** HLT: sleeps until kicked. The kick is remembered when it comes first, as KVM's pv_unhalted and a pending interrupt are. */
  halt(index: number): EnvironmentStep {
    return { kind: "wait", address: pendingFlag(index), size: 8, mask: 1n, consume: true, finish: () => {} };
  }

  /** RDMSR of Hyper-V's idle register; no other register's value is known. @throws UnsupportedError */
  readMsr(index: number, cpu: CpuRegisterFile, where: string): EnvironmentStep {
    const register = cpu.general[RCX] & 0xffff_ffffn;
    if (register !== GUEST_IDLE) throw new UnsupportedError(where, `reading MSR 0x${register.toString(16)}`);
    const finish = (c: CpuRegisterFile): void => {
      c.general[RAX] = 0n;
      c.general[RDX] = 0n;
    };
    return { kind: "wait", address: pendingFlag(index), size: 8, mask: 1n, consume: true, finish };
  }

  /** VMCALL, VMMCALL. RIP stands at the instruction; `next` follows it. @throws UnsupportedError */
  hypercall(cpu: CpuRegisterFile, bus: Bus, where: string): EnvironmentStep {
    const number = cpu.general[RAX] & 0xffff_ffffn;
    if (this.spec.hypervisor === "xen") return this.xenHypercall(number, cpu, bus, cpu.rip, () => {});
    if (this.spec.hypervisor !== "kvm") throw new UnsupportedError(where, "a hypercall to an unknown hypervisor");
    if (number !== KVM_HC_KICK_CPU) throw new UnsupportedError(where, `KVM hypercall ${number}`);
    const apic = Number(cpu.general[RCX]);
    const ids = this.spec.apicIds;
    const target = ids === undefined ? apic : ids.indexOf(apic);
    const flag = pendingFlag(this.cpuNumber(BigInt(target), cpu.rip));
    const finish = (c: CpuRegisterFile): void => {
      c.general[RAX] = 0n;
    };
    return { kind: "atomic", address: flag, size: 8, change: () => 1n, finish };
  }

  private xenHypercall(
    number: bigint,
    cpu: CpuRegisterFile,
    bus: Bus,
    address: bigint,
    leave: (cpu: CpuRegisterFile, bus: Bus) => void,
  ): EnvironmentStep {
    const where = formatAddress(address);
    const operation = cpu.general[RDI] & 0xffff_ffffn;
    const argument = cpu.general[RSI];
    const finish = (c: CpuRegisterFile, b: Bus): void => {
      c.general[RAX] = 0n;
      leave(c, b);
    };
    if (number === HYPERVISOR_SCHED_OP && operation === SCHEDOP_YIELD) return { kind: "local", finish };
    if (number === HYPERVISOR_SCHED_OP && operation === SCHEDOP_POLL) {
      // struct sched_poll { evtchn_port_t *ports; unsigned int nr_ports; uint64_t timeout; }
      const count = bus.load(argument + 8n, 4);
      const timeout = bus.load(argument + 16n, 8);
      if (count !== 1n || timeout !== 0n)
        throw new UnsupportedError(where, `SCHEDOP_poll of ${count} ports with timeout ${timeout}`);
      const port = bus.load(bus.load(argument, 8), 4);
      return { kind: "wait", ...this.eventBit(port, where), size: 8, consume: false, finish };
    }
    if (number === HYPERVISOR_EVENT_CHANNEL_OP && operation === EVTCHNOP_SEND) {
      const bit = this.eventBit(bus.load(argument, 4), where);
      return { kind: "atomic", address: bit.address, size: 8, change: (old) => old | bit.mask, finish };
    }
    const block = number === HYPERVISOR_SCHED_OP && operation === SCHEDOP_BLOCK ? " (SCHEDOP_block)" : "";
    throw new UnsupportedError(where, `Xen hypercall ${number} operation ${operation}${block}`);
  }

  private eventBit(port: bigint, where: string): { address: bigint; mask: bigint } {
    const shared = this.spec.sharedInfo;
    if (shared === undefined) throw new UnsupportedError(where, "an event channel without shared_info's address");
    if (port >= MAX_EVENT_CHANNELS) throw new UnsupportedError(where, `event channel ${port}`);
    return { address: shared + EVTCHN_PENDING + (port / 64n) * 8n, mask: 1n << (port % 64n) };
  }

  private cpuNumber(cpu: bigint, address: bigint): number {
    if (cpu < 0n || cpu >= BigInt(this.cpus))
      throw new UnsupportedError(formatAddress(address), `a kick of CPU ${cpu}, which the model does not have,`);
    return Number(cpu);
  }
}
