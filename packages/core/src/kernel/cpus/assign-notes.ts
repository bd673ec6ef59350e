// Which CPU each register note of a dump belongs to. The position in the file is a guess, and a wrong one when a CPU was
// offline; the kernel's own memory decides: its per-CPU base, its saved crash notes, its stacks. Without a proof there is
// no CPU: registers shown on another CPU are worse than none.
import { formatAddress } from "../../bytes/brand.ts";
import { isPrstatus } from "../../memory/formats/cpu-notes.ts";
import type { CpuNote, Dump } from "../../memory/types.ts";
import { type CpuContext, CpuPlaces } from "./cpu-places.ts";
import { crashNotes } from "./crash-notes.ts";

const CR0_PG = 1n << 31n;

/** The dump's notes, each with the number of its CPU; notes of no CPU that can be told are left out and told in `problems`. */
export function assignNotes(dump: Dump, context: CpuContext, problems: string[]): readonly CpuNote[] {
  if (dump.cpus.length === 0) return [];
  const places = new CpuPlaces(context);
  const own = dump.cpus.filter(({ source }) => source === "NT_PRSTATUS");
  const assigned =
    own.length > 0 ? new PrstatusNotes(dump, own, context, places, problems).assign() : hypervisorNotes(dump, places);
  return assigned.sort((a, b) => a.index - b.index);
}

/**
 * A hypervisor numbers its vCPUs as the firmware does, which is nearly always the kernel's order; the GS base of a CPU, which
 * is its __per_cpu_offset in every release, says for certain.
 */
function hypervisorNotes(dump: Dump, places: CpuPlaces): CpuNote[] {
  const byBase = new Map<bigint, number>();
  for (let cpu = 0; cpu < places.possible; cpu++) {
    const offset = places.offset(cpu);
    if (offset !== undefined && offset !== 0n) byBase.set(offset, byBase.has(offset) ? -1 : cpu);
  }
  const cpuOf = ({ registers: { gsBase, kernelGsBase } }: CpuNote): number | undefined => {
    const found = [gsBase, kernelGsBase].map((base) => (base === undefined ? undefined : byBase.get(base)));
    return found.find((cpu) => cpu !== undefined && cpu >= 0);
  };
  const started = dump.cpus.map((note) => (isStarted(note) ? note : { ...note, started: false }));
  const proved = started.map(cpuOf);
  // All or none: two ways of counting must not be mixed.
  const all = started.every((note, i) => note.started === false || proved[i] !== undefined);
  const distinct = new Set(proved.filter((cpu) => cpu !== undefined)).size;
  if (!all || distinct !== proved.filter((cpu) => cpu !== undefined).length) return started;
  const taken = new Set(proved);
  return started.flatMap((note, i) => {
    const cpu = proved[i] ?? note.index;
    return proved[i] === undefined && taken.has(cpu) ? [] : [{ ...note, index: cpu }];
  });
}

/** A CPU that the kernel never woke waits in the state of a reset: without paging. */
function isStarted({ registers: { cr0, general } }: CpuNote): boolean {
  if (cr0 !== undefined && (cr0 & CR0_PG) === 0n) return false;
  return Object.values(general).some((value) => value !== 0n);
}

class PrstatusNotes {
  private readonly descriptions: readonly Uint8Array[];

  constructor(
    dump: Dump,
    private readonly notes: readonly CpuNote[],
    private readonly context: CpuContext,
    private readonly places: CpuPlaces,
    private readonly problems: string[],
  ) {
    this.descriptions = dump.notes.filter(isPrstatus).map(({ desc }) => desc);
  }

  assign(): CpuNote[] {
    const filled = this.notes.filter(({ registers }) => Object.values(registers.general).some((value) => value !== 0n));
    const empty = this.notes.length - filled.length;
    if (empty > 0) {
      const what = empty === 1 ? "1 NT_PRSTATUS note is" : `${empty} NT_PRSTATUS notes are`;
      this.problems.push(`${what} all zero: no registers (/proc/kcore writes such a note)`);
    }
    const saved = crashNotes(this.context, this.places);
    const byCrash = new Map<CpuNote, number>();
    for (const note of filled) {
      const cpu = this.savedOn(note, saved);
      if (cpu !== undefined) byCrash.set(note, cpu);
    }
    const crashed = byCrash.size > 0;
    const out = new Map<number, CpuNote>();
    const unknown: string[] = [];
    for (const note of filled) {
      const cpu = this.cpuOf(note, byCrash.get(note), crashed, filled.length);
      const other = typeof cpu === "number" ? out.get(cpu) : undefined;
      if (typeof cpu === "string") unknown.push(this.words(note, cpu));
      else if (other === undefined) out.set(cpu, { ...note, index: cpu });
      else unknown.push(this.words(note, `CPU ${cpu} has another note already`));
    }
    this.problems.push(...unknown);
    return [...out.values()];
  }

  private words(note: CpuNote, why: string): string {
    const { rip, rsp } = note.registers;
    const where = `rip ${formatAddress(rip)}, rsp ${formatAddress(rsp)}, PID ${note.pid ?? "unknown"}`;
    return `NT_PRSTATUS note ${note.index + 1} (${where}) is given to no CPU: ${why}`;
  }

  /** The CPU that saved this very note. */
  private savedOn(note: CpuNote, saved: ReadonlyMap<number, Uint8Array> | undefined): number | undefined {
    const desc = this.descriptions[note.index];
    if (saved === undefined || desc === undefined) return undefined;
    const cpus = [...saved].filter(([, bytes]) => bytes.every((byte, i) => byte === desc[i]));
    return cpus.length === 1 ? cpus[0][0] : undefined;
  }

  /** A CPU's number, or why it is not known. */
  private cpuOf(note: CpuNote, saved: number | undefined, crashed: boolean, count: number): number | string {
    const { rsp } = note.registers;
    const cpus = Array.from({ length: this.places.possible }, (_, cpu) => cpu);
    const byStack = cpus.filter((cpu) => this.places.ownsStack(cpu, rsp));
    const samePid = (cpu: number) => this.places.current(cpu)?.pid === note.pid;
    if (saved !== undefined) {
      if (byStack.length === 1 && byStack[0] !== saved)
        return `CPU ${saved} saved it, but its stack is that of CPU ${byStack[0]}`;
      return saved;
    }
    if (byStack.length === 1) {
      if (crashed && note.pid !== undefined && !samePid(byStack[0]))
        return `its stack is that of CPU ${byStack[0]}, its PID is not`;
      return byStack[0];
    }
    if (byStack.length > 1) return "its stack is that of several CPUs";
    const byPid = note.pid === undefined || note.pid === 0 ? [] : cpus.filter(samePid);
    if (byPid.length === 1 && crashed) return byPid[0];
    // A hypervisor writes one for each CPU and a PID of its own making.
    if (!crashed && count === this.places.possible) return note.index;
    return "neither the kernel's crash notes nor a stack of a CPU matches";
  }
}
