// What each CPU was doing: its registers, its task, the functions it was in level by level, and the lock it waits for.
import { formatAddress, virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { machineOf } from "../../kernel/machine.ts";
import { describeAddress } from "../../kernel/where.ts";
import type { CpuNote } from "../../memory/types.ts";
import type { CpuFact, CpuLockWait } from "../../results/cpus-results.ts";
import { nameAddress } from "../../symbols/place.ts";
import { type Context, cpuContexts } from "../../tasks/contexts.ts";
import { TextRanges, threadSize } from "../../tasks/stack-scan.ts";
import { currentTask } from "../../tasks/tasks.ts";
import { LockState } from "../lock-state.ts";
import { evidenceText } from "./evidence-text.ts";
import { type CpuWait, isProved } from "./wait.ts";

/** CPUs that are looked at, and frames of each level. */
const MAX_CPUS = 1024;
const FRAMES = 32;
const IF = 1n << 9n;
/** In the order in which they are shown. */
const REGISTERS = ["rip", "rsp", "rflags", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"].concat([
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
]);
const SEGMENTS = ["cs", "ss", "ds", "es", "fs", "gs"];

/** Every CPU that is online or that the dump has registers of, by number. */
export function cpuFacts(kernel: Kernel): CpuFact[] {
  const state = new LockState(kernel);
  const { perCpu, cpuWaits: waits } = state;
  const { online } = machineOf(kernel);
  const text = new TextRanges(kernel);
  const stackSize = threadSize(kernel);
  const notes = new Map(kernel.dump.cpus.map((note) => [note.index, note]));
  const numbers = [...new Set([...notes.keys(), ...online])].sort((a, b) => a - b).slice(0, MAX_CPUS);
  return numbers.map((cpu) => {
    const note = notes.get(cpu);
    const task = currentTask(kernel, perCpu, cpu);
    const contexts = note === undefined ? [] : cpuContexts(kernel, text, stackSize, note, FRAMES);
    return {
      cpu,
      online: online.length === 0 ? null : online.includes(cpu),
      task: task === undefined ? null : { address: formatAddress(task.address), pid: task.pid, comm: task.comm },
      source: note?.source ?? null,
      mode: note === undefined ? null : modeOf(note, text),
      interruptsOff: note === undefined ? null : (note.registers.rflags & IF) === 0n,
      registers: note === undefined ? {} : registersOf(note),
      symbol: note === undefined ? null : describeAddress(kernel, virtualAddress(note.registers.rip)),
      levels: contexts.map(levelOf),
      waits: waits.filter((wait) => wait.cpu === cpu).map((wait) => waitFact(kernel, wait)),
    };
  });
}

function modeOf({ registers, started }: CpuNote, text: TextRanges): NonNullable<CpuFact["mode"]> {
  if (started === false) return "not-started";
  if ((registers.cs & 3) === 3 || registers.rip < 1n << 63n) return "user";
  return text.has(registers.rip) ? "kernel" : "outside";
}

function registersOf({ registers }: CpuNote): Record<string, string> {
  const { fsBase, gsBase, kernelGsBase, cr0, cr2, cr3, cr4 } = registers;
  const out: Record<string, string> = {};
  const add = (name: string, value: bigint | undefined): void => {
    if (value !== undefined) out[name] = formatAddress(value);
  };
  for (const name of REGISTERS) add(name, registers.general[name]);
  for (const name of SEGMENTS) add(name, registers.general[name]);
  for (const [name, value] of Object.entries({ fsBase, gsBase, kernelGsBase, cr0, cr2, cr3, cr4 })) add(name, value);
  return out;
}

function levelOf({ level, rip, interruptsOff, registers, frames }: Context): CpuFact["levels"][number] {
  const named = REGISTERS.flatMap((name) => (registers[name] === undefined ? [] : [[name, registers[name]] as const]));
  return {
    level,
    rip: formatAddress(rip),
    interruptsOff,
    registers: Object.fromEntries(named.map(([name, value]) => [name, formatAddress(value)])),
    frames: frames.map((frame) => ({
      address: formatAddress(frame.address),
      symbol: frame.symbol,
      at: frame.at === undefined ? null : formatAddress(frame.at),
      checked: frame.checked,
    })),
  };
}

function waitFact(kernel: Kernel, wait: CpuWait): CpuLockWait {
  const { level, kind, mode, family, lock, evidence, ticket, asleep } = wait;
  return {
    level,
    kind: kind === "raw-spinlock" ? "spinlock" : mode === "reader" ? "read" : "write",
    implementation: family,
    lock: lock === undefined ? null : { address: formatAddress(lock), symbol: lockName(kernel, lock) },
    evidence: evidenceText(wait),
    proved: isProved(evidence),
    ticket: ticket ?? null,
    asleep,
  };
}

/** "floppy_lock [floppy]"; "" for a lock inside an allocated object, which no symbol is near of. */
function lockName(kernel: Kernel, lock: bigint): string {
  const near = kernel.allSymbols.nearest(virtualAddress(lock));
  if (lock < 0xffffffff80000000n || near === undefined || near.offset >= (near.size ?? 4096)) return "";
  return nameAddress(kernel.allSymbols, virtualAddress(lock));
}
