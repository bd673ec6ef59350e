// LOCK prefixes that a kernel removed when it came up with one CPU, put back for a proof on several, as the kernel itself does
// when a second one comes up.
import type { DumpAudit } from "../audit/audit.ts";
import { fromKernelOffset } from "../bytes/brand.ts";
import type { Preset } from "../prove/types.ts";

/** LOCK over each DS prefix that SMP alternatives left. */
export function lockPrefixes(audit: Pick<DumpAudit, "objects">): Preset[] {
  const presets: Preset[] = [];
  for (const object of audit.objects) {
    const list = object.replayed.sites.find((sites) => sites.mechanism === "smp-locks");
    for (const at of list?.offsets ?? []) {
      const region = object.replayed.space.find(at);
      if (region?.intended[at - region.start] === 0x3e)
        presets.push({ address: fromKernelOffset(at), bytes: Uint8Array.of(0xf0) });
    }
  }
  return presets;
}
