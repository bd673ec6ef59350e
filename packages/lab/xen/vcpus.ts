// Reads what xl and xenctx said of a domain's vCPUs.
import type { VcpuState } from "./types.ts";

/**
 * The vCPUs from `xenctx -a` of each (blocks headed "vcpu N", a line "rip: …" or "cs:eip: …") with the letters of
 * `xl vcpu-list`.
 */
export function vcpuStates(xenctx: string, vcpuList: string): VcpuState[] {
  const letters = new Map<number, string>();
  for (const line of vcpuList.split("\n").slice(1)) {
    const [, , vcpu, , state] = line.trim().split(/\s+/);
    if (/^\d+$/.test(vcpu ?? "")) letters.set(Number(vcpu), state ?? "");
  }
  return xenctx.split(/^vcpu (?=\d+\s*$)/m).flatMap((block) => {
    const vcpu = /^(\d+)\s*$/m.exec(block)?.[1];
    const rip = /\b(?:cs:)?[re]ip:?\s+(?:[0-9a-f]{4}:)?([0-9a-f]{1,16})\b/i.exec(block)?.[1];
    if (vcpu === undefined || rip === undefined) return [];
    return [
      { vcpu: Number(vcpu), rip: `0x${rip.toLowerCase().padStart(16, "0")}`, state: letters.get(Number(vcpu)) ?? "" },
    ];
  });
}
