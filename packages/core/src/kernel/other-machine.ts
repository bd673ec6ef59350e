// Whose kernel a dump holds when it is none of x86-64: containers without a header (LiME, AVML, raw) say nothing of the
// machine, but the kernel's own VMCOREINFO does. Asked only when nothing was found.
import { physicalAddress } from "../bytes/brand.ts";
import { scanPhysical } from "../memory/scan.ts";
import type { Dump } from "../memory/types.ts";

const LIMIT = 4096;
const HITS = 16;

/** What only one architecture's arch_crash_save_vmcoreinfo() writes. */
const MARKS: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^NUMBER\(VA_BITS\)=|^NUMBER\(kimage_voffset\)=/m, "an arm64 kernel"],
  [/^CONFIG_X86_PAE=y$|^SYMBOL\(swapper_pg_dir\)=[0-9a-f]{8}$/m, "a 32-bit x86 kernel"],
  [/^CONFIG_ARM_LPAE=/m, "a 32-bit ARM kernel"],
  [/^NUMBER\(va_kernel_pa_offset\)=|^NUMBER\(satp\)=/m, "a RISC-V kernel"],
];

/** "a 32-bit x86 kernel"; undefined when nothing tells. */
export function otherMachine(dump: Dump): string | undefined {
  const texts = dump.vmcoreinfo === undefined ? [] : [dump.vmcoreinfo];
  for (const at of scanPhysical(dump, new TextEncoder().encode("OSRELEASE="), { limit: HITS })) {
    const bytes = new Uint8Array(LIMIT);
    dump.physical.read(physicalAddress(at), bytes, () => undefined);
    const end = bytes.indexOf(0);
    texts.push(new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end)));
  }
  for (const text of texts) {
    const found = MARKS.find(([pattern]) => pattern.test(text));
    if (found !== undefined) return found[1];
  }
  return undefined;
}
