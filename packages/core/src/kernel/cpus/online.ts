// Which CPUs are online, held against all that tells it a second time: a mask that contradicts the dump's registers or the
// kernel's other masks is not believed, since what follows from it (how many CPUs, who may hold a lock) would be wrong.
import type { VirtualAddress } from "../../bytes/brand.ts";
import type { Dump } from "../../memory/types.ts";
import { getU32 } from "../layouts/little-endian.ts";
import { type CpuContext, CpuPlaces } from "./cpu-places.ts";

/** Bits of a cpumask that are believed. */
const MAX_CPUS = 8192;

export interface OnlineCpus {
  /** Numbers, ascending; empty when the kernel does not tell or contradicts itself. */
  readonly cpus: readonly number[];
  /** What contradicts the mask. */
  readonly contradiction?: string;
}

/** `__cpu_online_mask` (since 4.5, `cpu_online_bits` before) of a dump whose notes are given to their CPUs. */
export function readOnline(dump: Pick<Dump, "cpus">, context: CpuContext): OnlineCpus {
  const places = new CpuPlaces(context);
  const mask = (state: string) => readMask(context, places, state);
  const cpus = mask("online");
  if (cpus === undefined) return { cpus: [] };
  const contradiction = contradicts(cpus, dump, context, places, mask);
  return contradiction === undefined
    ? { cpus }
    : { cpus: [], contradiction: `the mask of online CPUs (${list(cpus)}) ${contradiction}` };
}

function readMask({ memory, symbols }: CpuContext, places: CpuPlaces, state: string): number[] | undefined {
  const at = (symbols.lookup(`__cpu_${state}_mask`) ?? symbols.lookup(`cpu_${state}_bits`))?.address;
  const bytes =
    at === undefined ? undefined : memory.tryRead(at, Math.ceil(Math.min(possible(places), MAX_CPUS) / 64) * 8);
  if (bytes === undefined) return undefined;
  return Array.from({ length: bytes.length * 8 }, (_, cpu) => cpu).filter((cpu) => (bytes[cpu >> 3] >> (cpu & 7)) & 1);
}

const possible = (places: CpuPlaces): number => Math.max(1, places.possible);

function contradicts(
  online: readonly number[],
  { cpus: notes }: Pick<Dump, "cpus">,
  { memory, symbols }: CpuContext,
  places: CpuPlaces,
  mask: (state: string) => readonly number[] | undefined,
): string | undefined {
  const told = notes.filter(({ started }) => started !== false);
  if (online.length === 0) {
    const seen =
      told.length === 0
        ? "a kernel runs on one CPU at least"
        : `the dump has registers of CPU ${list(told.map(({ index }) => index))}`;
    return `is empty, though ${seen}`;
  }
  for (const state of ["present", "possible"]) {
    const wider = mask(state);
    const extra = wider && online.filter((cpu) => !wider.includes(cpu));
    if (extra !== undefined && extra.length > 0)
      return `has CPU ${list(extra)}, which the mask of ${state} ones has not`;
  }
  const beyond = online.filter((cpu) => cpu >= places.possible);
  if (beyond.length > 0) return `has CPU ${list(beyond)}, but nr_cpu_ids is ${places.possible}`;
  // __num_online_cpus: 0c09ab96fc82, 5.3
  const counter: VirtualAddress | undefined = symbols.lookup("__num_online_cpus")?.address;
  const count = counter === undefined ? undefined : memory.tryRead(counter, 4);
  if (count !== undefined && getU32(count, 0) !== online.length)
    return `contradicts __num_online_cpus, which is ${getU32(count, 0)}`;
  if (places.current(online[0]) !== undefined) {
    const bare = online.filter((cpu) => places.current(cpu) === undefined);
    if (bare.length > 0) return `has CPU ${list(bare)}, which runs no task`;
  }
  // An offline CPU has its idle task; a crashing kernel asks none for registers.
  const stray = told.filter(
    ({ index, source }) =>
      !online.includes(index) && (source === "NT_PRSTATUS" || (places.current(index)?.pid ?? 0) !== 0),
  );
  if (stray.length > 0) return `lacks CPU ${list(stray.map(({ index }) => index))}, whose registers are in the dump`;
  const silent = online.filter((cpu) => !told.some(({ index }) => index === cpu));
  if (silent.length > 0 && told.some(({ source }) => source === "QEMU"))
    return `has CPU ${list(silent)}, but QEMU had no such CPU running`;
  return undefined;
}

/** "0, 2-5" */
function list(cpus: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < cpus.length; ) {
    let end = i;
    while (cpus[end + 1] === cpus[end] + 1) end++;
    parts.push(end === i ? `${cpus[i]}` : `${cpus[i]}-${cpus[end]}`);
    i = end + 1;
  }
  return parts.slice(0, 8).join(", ") || "none";
}
