// Damages a dump without copying it: an overlay over its physical memory changes chosen bytes of kernel text, and the
// whole audit runs on that, so that one can ask whether each fault, and nothing else, is found.
import { auditDump, type DumpAudit, type ImageSet } from "../core/src/audit/audit.ts";
import { type PhysicalAddress, virtualAddress } from "../core/src/bytes/brand.ts";
import type { ByteSource } from "../core/src/bytes/source.ts";
import { openKernelImage } from "../core/src/image/kernel-image.ts";
import { openModuleImage } from "../core/src/image/module-image.ts";
import type { ModuleImage } from "../core/src/image/types.ts";
import type { Kernel } from "../core/src/kernel/kernel.ts";
import { openKernel } from "../core/src/kernel/open.ts";
import { changedDump } from "../core/src/memory/changed-dump.ts";
import { openDump } from "../core/src/memory/open.ts";
import { PAGE_SIZE, type PhysicalMemory } from "../core/src/memory/types.ts";
import { prepareCodecs } from "../node/src/codecs.ts";
import { FileSource } from "../node/src/file-source.ts";

/** Bytes of kernel text that are other than the dump's. */
export interface Damage {
  /** virtual address */
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** Physical memory in which some bytes are others. */
class DamagedMemory implements PhysicalMemory {
  readonly ranges;
  /** page frame number → offset → byte */
  private readonly changes = new Map<number, Map<number, number>>();

  constructor(private readonly memory: PhysicalMemory) {
    this.ranges = memory.ranges;
  }

  set(address: number, byte: number): void {
    const pfn = Math.floor(address / PAGE_SIZE);
    const changes = this.changes.get(pfn) ?? new Map<number, number>();
    this.changes.set(pfn, changes.set(address % PAGE_SIZE, byte));
  }

  page(pfn: number): Uint8Array | undefined {
    const page = this.memory.page(pfn);
    const changes = this.changes.get(pfn);
    if (page === undefined || changes === undefined) return page;
    const damaged = page.slice();
    for (const [offset, byte] of changes) damaged[offset] = byte;
    return damaged;
  }

  read(address: PhysicalAddress, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    this.memory.read(address, into, absent);
    const start = Number(address);
    const last = Math.floor((start + into.length - 1) / PAGE_SIZE);
    for (let pfn = Math.floor(start / PAGE_SIZE); pfn <= last; pfn++) {
      for (const [offset, byte] of this.changes.get(pfn) ?? []) {
        const at = pfn * PAGE_SIZE + offset - start;
        if (at >= 0 && at < into.length) into[at] = byte;
      }
    }
  }
}

/** A dump with its images and what the audit says of it as it is. */
export interface OpenedDump {
  readonly source: ByteSource;
  readonly images: ImageSet;
  readonly kernel: Kernel;
  readonly clean: DumpAudit;
}

/** Opens and audits the dump in a file, with its image and the folder of its modules. */
export async function openForFaults(path: string, vmlinuz: string, modules: string): Promise<OpenedDump> {
  await prepareCodecs();
  return openDamageable(
    new FileSource(path),
    new FileSource(vmlinuz),
    (name) => new FileSource(`${modules}/${name}.ko`),
  );
}

/** Opens and audits a dump. */
export function openDamageable(
  source: ByteSource,
  vmlinuz: ByteSource,
  module: (name: string) => ByteSource,
): OpenedDump {
  const kernel = openKernel(openDump(source));
  const opened = new Map<string, ModuleImage>();
  for (const { name } of kernel.modules) opened.set(name, openModuleImage(module(name)));
  const images: ImageSet = { core: openKernelImage(vmlinuz), module: ({ name }) => opened.get(name) };
  return { source, images, kernel, clean: auditDump(kernel, images) };
}

/** Audits the dump with the damage in it, from opening on: nothing of the clean audit is reused but the images. */
export function auditDamaged(opened: OpenedDump, damage: readonly Damage[]): DumpAudit {
  const dump = openDump(opened.source);
  const physical = new DamagedMemory(dump.physical);
  for (const { address, bytes } of damage) {
    for (let i = 0; i < bytes.length; i++) {
      const at = opened.kernel.memory.translate(virtualAddress(address + BigInt(i)));
      physical.set(Number(at.physical), bytes[i]);
    }
  }
  return auditDump(openKernel(changedDump(dump, { physical })), opened.images);
}
