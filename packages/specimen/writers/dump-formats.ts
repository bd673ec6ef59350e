// One memory, several kinds of dump file.
import type { Ram } from "../machine/physical.ts";
import type { CpuState } from "./core-notes.ts";
import { flatten, writeKdump } from "./kdump-writer.ts";
import { dumpNotes, writeVmcore } from "./vmcore-writer.ts";

/** "elf": QEMU without paging; "vmcore": with virtual addresses, as /proc/vmcore; kdump-compressed, zlib pages. */
export type DumpFormat = "elf" | "vmcore" | "kdump" | "kdump-flattened";

export interface DumpInput {
  readonly ram: Ram;
  readonly cpus: readonly CpuState[];
  /** undefined for a kernel that gave QEMU none */
  readonly vmcoreinfo: string | undefined;
  readonly release: string;
  readonly physBase: bigint;
  /** page_offset_base */
  readonly direct: bigint;
  /** physical range of the kernel's image, which is mapped at physical - physBase + __START_KERNEL_map */
  readonly image: { readonly start: bigint; readonly end: bigint };
}

export function writeDump(format: DumpFormat, d: DumpInput): Uint8Array {
  const notes = dumpNotes(d.cpus, d.vmcoreinfo);
  if (format === "elf") return writeVmcore(d.ram, notes);
  if (format === "vmcore")
    return writeVmcore(d.ram, notes, (physical) =>
      physical >= d.image.start && physical < d.image.end
        ? BigInt.asUintN(64, physical - d.physBase + 0xffffffff80000000n)
        : d.direct + physical,
    );
  const length = d.vmcoreinfo?.length ?? 0;
  // VMCOREINFO is the last note; its text is padded to four bytes.
  const offset = notes.length - Math.ceil(length / 4) * 4;
  const { ram, release, physBase } = d;
  const vmcoreinfo = { offset, length };
  const file = writeKdump({ ram, notes, vmcoreinfo, release, physBase, cpus: d.cpus.length });
  return format === "kdump" ? file : flatten(file);
}
