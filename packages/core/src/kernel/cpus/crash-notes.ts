// The registers that a crashing kernel saved of each CPU, where it keeps them: `crash_notes`, a per-CPU buffer that
// crash_save_cpu() fills (kernel/kexec_core.c). A vmcore has them in CPU order without those of CPUs that saved none, so its
// n-th note is not CPU n's.
import type { VirtualAddress } from "../../bytes/brand.ts";
import { getU32, getU64 } from "../layouts/little-endian.ts";
import type { CpuContext, CpuPlaces } from "./cpu-places.ts";

/** `struct elf_prstatus` of x86-64, without padding that a writer may leave. */
const PRSTATUS_SIZE = 336;
const NT_PRSTATUS = 1;
/** {u32 namesz, descsz, type; "CORE\0" padded to 8} */
const HEADER_SIZE = 20;

/** CPU → its `struct elf_prstatus`; only CPUs that saved one. undefined when the kernel's memory does not tell. */
export function crashNotes(context: CpuContext, places: CpuPlaces): Map<number, Uint8Array> | undefined {
  const at = context.symbols.lookup("crash_notes")?.address;
  const bytes = at === undefined ? undefined : context.memory.tryRead(at, 8);
  if (bytes === undefined) return undefined;
  const pointer = getU64(bytes, 0);
  const notes = new Map<number, Uint8Array>();
  if (pointer === 0n) return notes;
  for (let cpu = 0; cpu < places.possible; cpu++) {
    const note = readNote(context, places.copyOf(pointer, cpu));
    if (note !== undefined) notes.set(cpu, note);
  }
  return notes;
}

function readNote({ memory }: CpuContext, at: VirtualAddress | undefined): Uint8Array | undefined {
  const bytes = at === undefined ? undefined : memory.tryRead(at, HEADER_SIZE + PRSTATUS_SIZE);
  if (bytes === undefined || getU32(bytes, 0) !== 5 || getU32(bytes, 8) !== NT_PRSTATUS) return undefined;
  if (getU32(bytes, 4) !== PRSTATUS_SIZE || String.fromCharCode(...bytes.subarray(12, 16)) !== "CORE") return undefined;
  return bytes.subarray(HEADER_SIZE);
}
