// `diagnose` tells of a slot that was changed after its sites were patched; the kernel image tells which step of the boot
// does such a thing. The walk over the image is costly, so it is only made for a dump that has such a finding.
import { lateSlotWrites } from "../boot-order/late-writes.ts";
import { formatAddress } from "../bytes/brand.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { KernelImage } from "../image/types.ts";
import { forkedWays, wayText } from "../report/boot-order-text.ts";
import type { Finding, SlotLateWrite } from "../results/types.ts";

export interface BootSteps {
  /** the findings; to those of id slot.late-write one note is added */
  readonly findings: readonly Finding[];
  /** why there are none, when the image cannot tell */
  readonly problems: readonly string[];
}

/**
 * Names the boot step behind each late write.
 * @param kaslrOffset bytes from link-time to run-time addresses
 */
export function withBootSteps(
  findings: readonly Finding[],
  image: KernelImage | undefined,
  kaslrOffset: number | undefined,
): BootSteps {
  if (image === undefined || kaslrOffset === undefined || !findings.some(isLateWrite))
    return { findings, problems: [] };
  try {
    const late = lateSlotWrites(image).filter((write) => write.sameBefore === undefined);
    const noteOn = ({ slot, address }: SlotLateWrite): string => {
      const place = slot.address ?? address;
      const write = late.find(
        (each) =>
          formatAddress(each.slot + BigInt(kaslrOffset)) === place &&
          (each.value === undefined || each.value === slot.value),
      );
      if (write === undefined) return "No step of the boot that does this after the patching was found in the image.";
      const [patched, written] = forkedWays(write.patchPath, write.path);
      const value = write.value ?? "a value that the code does not tell";
      return `The boot of this image does it after the patching: ${wayText(patched)} patches, then ${wayText(written)} stores ${value}.`;
    };
    const told = findings.map((finding) =>
      isLateWrite(finding) ? { ...finding, notes: [...finding.notes, noteOn(finding)] } : finding,
    );
    return { findings: told, problems: [] };
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return { findings, problems: [`which step of the boot writes the slot is not told: ${error.message}`] };
  }
}

function isLateWrite(finding: Finding): finding is SlotLateWrite {
  return finding.id === "slot.late-write";
}
