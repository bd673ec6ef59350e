// VMCOREINFO where the kernel keeps it: a page of text in its memory (vmcoreinfo_data, kernel/vmcore_info.c 6.9, before that
// kernel/crash_core.c), for dumps whose writer made no note of it.
import type { PhysicalAddress } from "../bytes/brand.ts";
import { physicalAddress } from "../bytes/brand.ts";
import { scanPhysical } from "../memory/scan.ts";
import type { Dump } from "../memory/types.ts";

/** VMCOREINFO_BYTES is a page. */
const LIMIT = 4096;
/** The kernel's page and its note, copies in page cache and in the tools that read it. */
const HITS = 64;

/** Texts that look like VMCOREINFO of an x86-64 kernel, with their places; what they say is still to be proved. */
export function* vmcoreinfoInMemory(dump: Dump): Generator<{ text: string; at: PhysicalAddress }> {
  for (const at of scanPhysical(dump, new TextEncoder().encode("OSRELEASE="), { limit: HITS })) {
    const bytes = new Uint8Array(LIMIT);
    dump.physical.read(physicalAddress(at), bytes, () => undefined);
    const end = bytes.findIndex((byte) => byte !== 10 && (byte < 32 || byte > 126));
    const text = new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end));
    // Both come early in every release; format strings and documentation have other text there.
    if (/^PAGESIZE=4096$/m.test(text) && /^SYMBOL\(\w+\)=[0-9a-f]{16}$/m.test(text)) yield { text, at };
  }
}
