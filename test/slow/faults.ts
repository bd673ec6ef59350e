// Damages a dump without copying it: an overlay over its physical memory changes chosen bytes of kernel text, so that a
// test can ask whether each fault, and nothing else, is found.
import { auditDump, type DumpAudit, type ImageSet } from "../../src/audit/audit.ts";
import { fromKernelOffset, type PhysicalAddress, virtualAddress } from "../../src/bytes/brand.ts";
import { FileSource } from "../../src/bytes/file-source.ts";
import { prepareCodecs } from "../../src/cli/files/codecs.ts";
import { openKernelImage } from "../../src/image/kernel-image.ts";
import { openModuleImage } from "../../src/image/module-image.ts";
import type { ModuleImage } from "../../src/image/types.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { openKernel } from "../../src/kernel/open.ts";
import { openDump } from "../../src/memory/open.ts";
import { type Dump, PAGE_SIZE, type PhysicalMemory } from "../../src/memory/types.ts";
import { isNops } from "../../src/x86/equivalence.ts";

/** A small generator of random numbers that is the same on every machine (mulberry32). */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

class DamagedMemory implements PhysicalMemory {
  readonly ranges;
  readonly bytes = new Map<number, number>();

  constructor(private readonly memory: PhysicalMemory) {
    this.ranges = memory.ranges;
  }

  page(pfn: number): Uint8Array | undefined {
    const page = this.memory.page(pfn)?.slice();
    if (page !== undefined) this.damage(page, pfn * PAGE_SIZE);
    return page;
  }

  read(address: PhysicalAddress, into: Uint8Array, absent: (offset: number, length: number) => void): void {
    this.memory.read(address, into, absent);
    this.damage(into, Number(address));
  }

  private damage(into: Uint8Array, start: number): void {
    for (const [at, byte] of this.bytes) {
      if (at >= start && at < start + into.length) into[at - start] = byte;
    }
  }
}

export interface Fault {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

export interface OpenedDump {
  readonly path: string;
  readonly images: ImageSet;
  readonly kernel: Kernel;
  readonly clean: DumpAudit;
}

/** Opens a dump with its image and modules, and audits it as it is. */
export async function openForFaults(path: string, vmlinuz: string, modules: string): Promise<OpenedDump> {
  await prepareCodecs();
  const kernel = openKernel(openDump(new FileSource(path)));
  const opened = new Map<string, ModuleImage>();
  for (const module of kernel.modules) {
    opened.set(module.name, openModuleImage(new FileSource(`${modules}/${module.name}.ko`)));
  }
  const images: ImageSet = {
    core: openKernelImage(new FileSource(vmlinuz)),
    module: (module) => opened.get(module.name),
  };
  return { path, images, kernel, clean: auditDump(kernel, images) };
}

/** Audits the dump with the faults in it. */
export function auditWithFaults(opened: OpenedDump, faults: readonly Fault[]): DumpAudit {
  const dump = openDump(new FileSource(opened.path));
  const physical = new DamagedMemory(dump.physical);
  for (const fault of faults) {
    for (let i = 0; i < fault.bytes.length; i++) {
      const at = opened.kernel.memory.translate(virtualAddress(fault.address + BigInt(i)));
      physical.bytes.set(Number(at.physical), fault.bytes[i]);
    }
  }
  const damaged: Dump = { ...dump, physical };
  return auditDump(openKernel(damaged), opened.images);
}

/** `count` one-byte faults at random places of all audited code, each byte changed to another value. */
export function randomFaults(opened: OpenedDump, count: number, seed: number): Fault[] {
  const random = randomNumbers(seed);
  const regions = opened.clean.objects.flatMap((object) =>
    [...object.found].map(([region, found]) => ({ region, found })),
  );
  const total = regions.reduce((sum, { region }) => sum + region.built.length, 0);
  const faults = new Map<bigint, Fault>();
  while (faults.size < count) {
    // Half of them anywhere; modules are small, so that the other half is spread over the objects evenly.
    let at = faults.size % 2 === 0 ? random(total) : -1;
    const chosen =
      at < 0
        ? regions[random(regions.length)]
        : regions.find(({ region }) => {
            if (at < region.built.length) return true;
            at -= region.built.length;
            return false;
          });
    if (chosen === undefined) continue;
    if (at < 0) at = random(chosen.region.built.length);
    const address = fromKernelOffset(chosen.region.start + at);
    const byte = chosen.found.bytes[at] ^ (1 + random(255));
    faults.set(address, { address, bytes: Uint8Array.of(byte) });
  }
  return [...faults.values()];
}

export interface FaultScore {
  /** faults that no finding covers */
  readonly missed: string[];
  /** findings that cover no fault */
  readonly invented: string[];
  /** foreign findings whose bytes are not exactly faults */
  readonly inexact: string[];
}

/** Holds the findings against the faults. */
export function score(audit: DumpAudit, faults: readonly Fault[]): FaultScore {
  const faulty = new Set<bigint>();
  for (const fault of faults) for (let i = 0; i < fault.bytes.length; i++) faulty.add(fault.address + BigInt(i));
  const covered = new Set<bigint>();
  const invented: string[] = [];
  const inexact: string[] = [];
  for (const finding of audit.objects.flatMap((object) => object.findings)) {
    const start = BigInt(finding.address);
    let hits = 0;
    for (let i = 0n; i < BigInt(finding.length); i++) {
      if (!faulty.has(start + i)) continue;
      covered.add(start + i);
      hits++;
    }
    if (hits === 0) invented.push(`${finding.address} ${finding.title}`);
    else if (finding.id === "text.foreign" && hits !== finding.length)
      inexact.push(`${finding.address} ${finding.title}`);
  }
  const missed = [...faulty].filter((address) => !covered.has(address)).map((address) => `0x${address.toString(16)}`);
  return { missed, invented, inexact };
}

export interface LegalFault extends Fault {
  readonly mechanism: string;
  readonly form: string;
}

/** Sites that are made to hold another legal form of their mechanism: `count` of each mechanism that has such forms. */
export function legalFaults(opened: OpenedDump, count: number, seed: number): LegalFault[] {
  const random = randomNumbers(seed);
  const faults: LegalFault[] = [];
  const taken = new Set<number>();
  for (const object of opened.clean.objects) {
    for (const list of object.replayed.sites) {
      let made = 0;
      for (let attempt = 0; attempt < count * 4 && made < count; attempt++) {
        const index = random(list.offsets.length);
        const start = list.offsets[index];
        const length = list.lengths[index];
        const region = [...object.found.keys()].find(
          (each) => start >= each.start && start + length <= each.start + each.built.length,
        );
        if (region === undefined || length === 0) continue;
        // Neighbouring sites would explain each other's bytes.
        let free = true;
        for (let i = start - 8; i < start + length + 8; i++) if (taken.has(i)) free = false;
        if (!free) continue;
        const held = region.intended.subarray(start - region.start, start - region.start + length);
        const form = list.describe(index).forms.find(
          (each) =>
            each.bytes.length === length &&
            each.bytes.some((byte, i) => byte !== held[i]) &&
            !(isNops(each.bytes) && isNops(held)), // other NOPs are equivalent, no fault
        );
        if (form === undefined) continue;
        for (let i = start; i < start + length; i++) taken.add(i);
        faults.push({
          address: fromKernelOffset(start),
          bytes: form.bytes,
          mechanism: list.mechanism,
          form: form.name,
        });
        made++;
      }
    }
  }
  return faults;
}
