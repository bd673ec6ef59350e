// The contracts of the room prove/: what the machine needs to know about a kernel (code bytes, per-CPU bases, which
// functions belong to the hypervisor) and what a proof answers. Nothing here knows where a dump came from.
//
// How the room works, bottom up:
//   decode + semantics   one x86-64 instruction → one closure, decoded by iced-x86 once an address
//   cells                every 8-byte cell of memory is constant, private to one CPU, or shared; learnt while running
//   automaton            what ONE CPU does between two accesses to shared memory, remembered by (local state, value
//                        read): the explorer follows integers and the instructions run once a local state
//   store-buffers        x86-TSO: a FIFO of stores a CPU, forwarding to the CPU's own loads
//   explorer             all orders of the CPUs' shared accesses and of the buffers' drains, exact states, no hashing away
//   verdict, witness     states that cannot reach the end are hangs; the shortest way there in context switches
import type { VirtualAddress } from "../bytes/brand.ts";
import type { RegisterName } from "../x86/register-names.ts";

/** Code and data as they stand in the dump. `VirtualMemory` of memory/types.ts satisfies it. */
export interface CodeMemory {
  /** A copy of `length` bytes. @throws AddressError when any byte is unmapped or absent */
  read(address: VirtualAddress, length: number): Uint8Array;
}

/** "native_queued_spin_lock_slowpath+0x1c"; undefined when nothing is known of the address. */
export type SymbolName = (address: VirtualAddress) => string | undefined;

export type MemoryModel = "tso" | "sc";

/** Where a CPU enters kernel code, and where the model takes over again. */
export interface Entry {
  readonly address: bigint;
  /**
   * Ends the run before the instruction at one of these addresses executes: for code inlined in the middle of a
   * function. Without it the entry is a function: it is called with a return address on the stack and ends by returning.
   */
  readonly stopAt?: readonly bigint[];
  /** A trylock: it returns 0 in EAX when it did not take the lock, and the round is over then. */
  readonly tries?: boolean;
  /** Register values at entry; "result" is what RAX held when the previous run of this CPU ended (saved flags). */
  readonly registers: Readonly<Partial<Record<RegisterName, bigint | "result">>>;
}

/** One part of a CPU's program. */
export type Phase =
  | { readonly kind: "run"; readonly entry: Entry }
  /** Between the lock's return and the unlock's call: adds one to the scenario's counter with a plain load and store. */
  | { readonly kind: "critical-section" };

export interface CpuProgram {
  readonly phases: readonly Phase[];
  /** How often `phases` runs. */
  readonly rounds: number;
}

/**
 * A function or instruction address that is the hypervisor's or the hardware's, not code to execute. Each CPU has one
 * "pending" flag: set by a kick, awaited by a wait.
 */
export type Hook = { readonly address: bigint } & (
  | { readonly kind: "return"; readonly value?: bigint }
  /** Sleeps until this CPU's pending flag is set; `consume` clears it on waking (KVM's halt), else it stays (Xen's poll). */
  | { readonly kind: "wait"; readonly consume: boolean }
  /** Sets the pending flag of the CPU whose number the register holds. */
  | { readonly kind: "kick"; readonly cpu: RegisterName }
  | { readonly kind: "pending-clear" }
  | { readonly kind: "pending-set" }
  /** RAX = this CPU's pending flag. */
  | { readonly kind: "pending-test" }
  /** A slot of Xen's hypercall page: hypercall `number`, arguments in RDI, RSI, RDX. */
  | { readonly kind: "hypercall"; readonly number: number }
);

/** The world outside of the kernel's code. */
export interface Environment {
  readonly hooks?: readonly Hook[];
  /**
   * What VMCALL/VMMCALL means. kvm: RAX 5 is KVM_HC_KICK_CPU with the APIC id in RCX. xen: RAX is the hypercall number.
   */
  readonly hypervisor?: "kvm" | "xen";
  /** APIC id of each model CPU, for KVM_HC_KICK_CPU; by default the CPU's number. */
  readonly apicIds?: readonly number[];
  /** Address of Xen's shared_info, whose evtchn_pending words (+0x800) EVTCHNOP_send sets and SCHEDOP_poll awaits. */
  readonly sharedInfo?: bigint;
  /** A sleeping CPU may also wake without a kick. */
  readonly spuriousWakeups?: boolean;
}

/** Bytes put over the code memory before the run (COW): a lock word's initial value, a per-CPU variable, a patched site. */
export interface Preset {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** Everything the machine needs: the model's input. */
export interface System {
  readonly memory: CodeMemory;
  readonly programs: readonly CpuProgram[];
  readonly model: MemoryModel;
  /** GS base of each model CPU (per_cpu_offset, or the MSR's value); 0 when the code has no per-CPU accesses. */
  readonly gsBases?: readonly bigint[];
  readonly presets?: readonly Preset[];
  readonly environment?: Environment;
  /** RFLAGS.IF of every CPU at the start, default true. */
  readonly interruptsOn?: boolean;
  /** RFLAGS.IF must be back to its initial value when a CPU ends, default true. */
  readonly checkInterrupts?: boolean;
  /** Registers at a CPU's end stay as they are, for litmus tests that ask for them; default false: forgotten. */
  readonly keepRegisters?: boolean;
  /** The lock word, watched for the witness and tested at the end. */
  readonly lock?: LockWord;
  readonly symbol?: SymbolName;
}

/** When a lock's bytes mean that nobody has it. */
export type FreeWord =
  /** the bytes it started with (test-and-set, Xen's byte lock, queued locks) */
  | "initial"
  /** first half equals second half (ticket locks: head and tail) */
  | "halves-equal";

export interface LockWord {
  readonly address: bigint;
  /** bytes */
  readonly length: number;
  /** Default "initial". */
  readonly free?: FreeWord;
  /** Bits that say nothing about free or taken (the slow path flag of 3.11's ticket locks), little-endian. */
  readonly ignoredBits?: bigint;
  /** "head 0, tail 4": shown beside the bytes. */
  describe?(bytes: Uint8Array): string;
}

export interface Bounds {
  /** distinct global states, default 20 million */
  readonly states?: number;
  /** default 300 */
  readonly seconds?: number;
  /** default 1 GiB */
  readonly memoryBytes?: number;
  /** instructions a CPU may run without touching shared memory, default 1 million */
  readonly localInstructions?: number;
  /**
   * Entries a CPU's store buffer holds, default 16: with a full one the CPU waits for a drain, as processors do (they
   * have 50 and more; lock code outside of endless loops uses a handful). Not a bound that ends a run: when one was
   * filled, `assumptions` says so.
   */
  readonly storeBuffer?: number;
}

/** "not-proven": a bound was hit. "bad-end": all CPUs end, but the lock word or the interrupt flag is not as it was. */
export type Verdict = "safe" | "hang" | "two-holders" | "bad-end" | "trap" | "not-proven" | "unsupported";

export type BoundName = Exclude<keyof Bounds, "storeBuffer">;

export interface Progress {
  readonly states: number;
  readonly seconds: number;
}

/** How one CPU stands at the end of a witness. */
export interface CpuEnd {
  readonly cpu: number;
  /** "spins": runs for ever through `cycle`; "sleeps": waits for a kick that nobody will send. */
  readonly state: "finished" | "spins" | "sleeps" | "in critical section" | "running" | "trapped" | "unsupported";
  /** Which round it is in, from 1, and which phase of it, from 0 (0 lock, 1 critical section, 2 unlock); absent when finished. */
  readonly round?: number;
  readonly phase?: number;
  /** "0x…" of the instruction it stands at, and its symbol */
  readonly address: string;
  readonly symbol?: string;
  /** The instructions it repeats. */
  readonly cycle?: readonly { readonly address: string; readonly symbol?: string; readonly instruction: string }[];
}

/** One instruction (or one store leaving a store buffer) of the witness. Plain data. */
export interface WitnessStep {
  readonly cpu: number;
  readonly kind: "instruction" | "drain" | "model";
  /** "0x…"; for a drain the address of the store's memory. */
  readonly address: string;
  readonly symbol?: string;
  /** AT&T text, or what the model does ("store leaves the buffer: …") */
  readonly instruction: string;
  /** Bytes of the lock word in memory order, "00 04 00 00"; undefined when the system has no lock word. */
  readonly lockBefore?: string;
  readonly lockAfter?: string;
  /** describe(lockAfter) */
  readonly lock?: string;
  /** Stores of this CPU still waiting after the step, oldest first: "0x… ← 0x1 (1 byte)". */
  readonly storeBuffer?: readonly string[];
}

export interface Witness {
  readonly verdict: Exclude<Verdict, "safe" | "not-proven">;
  /** One sentence. */
  readonly problem: string;
  readonly contextSwitches: number;
  readonly steps: readonly WitnessStep[];
  readonly end: readonly CpuEnd[];
  /** The schedule, for the replay: "0", "1d" (drain), "0a" (the counted spin of CPU 0 runs out), "1w" (wakes unkicked). */
  readonly schedule: readonly string[];
  /** Addresses of the 8-byte cells that CPUs share; the schedule counts accesses to these. */
  readonly shared: readonly string[];
  /** Entries of a store buffer in the model. */
  readonly storeBufferEntries: number;
}

export interface Proof {
  readonly verdict: Verdict;
  /** Which bound was hit, for not-proven (a found violation stays a violation). */
  readonly bound?: { readonly name: BoundName; readonly value: number };
  /** For unsupported and trap: where and what. */
  readonly reason?: string;
  readonly cpus: number;
  readonly states: number;
  readonly transitions: number;
  readonly seconds: number;
  /** bytes of the explorer's tables */
  readonly memoryBytes: number;
  readonly witness?: Witness;
  /** What the model took for granted beyond the memory model: counted spins cut short, and so on. */
  readonly assumptions: readonly string[];
}
