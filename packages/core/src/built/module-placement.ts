// Whether the addresses that the kernel recorded for a module's sections can be right. A damaged one would make every
// reference to that section look overwritten; then the module is better not compared at all.
import type { VirtualAddress } from "../bytes/brand.ts";
import { formatAddress } from "../bytes/brand.ts";
import type { ElfSection } from "../bytes/elf.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";

const SHF_ALLOC = 2;
const PAGE = 4096n;
/** Placed by rules of their own. */
const APART = /^\.data\.\.percpu|^\.init|^\.modinfo$|^__versions?/;

/** Sections without a recorded address that only a damaged list can lack: what refers to them cannot be computed. */
export function unplacedSections(module: KernelModule, sections: readonly ElfSection[]): ReadonlySet<number> {
  const lost = sections.filter(
    ({ name, flags, size }) =>
      (flags & SHF_ALLOC) !== 0 &&
      size > 0 &&
      !module.sections.has(name) &&
      !APART.test(name) &&
      !name.startsWith(".exit"),
  );
  return new Set(lost.map(({ index }) => index));
}

/**
 * What is wrong with them; undefined when nothing is. Sections of init memory, which is given back, may lie anywhere.
 * @param all modules of the kernel
 */
export function placementProblem(
  module: KernelModule,
  sections: readonly ElfSection[],
  all: readonly KernelModule[] = [],
): string | undefined {
  const names = new Map<string, number>();
  for (const { name } of sections) names.set(name, (names.get(name) ?? 0) + 1);
  const placed: { readonly name: string; readonly start: VirtualAddress; readonly end: bigint }[] = [];
  for (const section of sections) {
    const start = module.sections.get(section.name);
    if ((section.flags & SHF_ALLOC) === 0 || section.size === 0 || start === undefined) continue;
    // Of several sections of one name nothing tells which address is whose.
    if (APART.test(section.name) || names.get(section.name) !== 1) continue;
    const end = start + BigInt(section.size);
    const at = `${section.name} at ${formatAddress(start)}`;
    const region = module.regions.find(({ base, size }) => start >= base && end <= base + BigInt(size));
    if (module.regions.length > 0 && region === undefined) return `${at} lies outside of its memory`;
    const align = BigInt(Math.max(1, section.align));
    // The loader aligns offsets; what a region's own start is aligned to is the allocator's affair.
    if (region !== undefined && region.base % align === 0n && start % align !== 0n)
      return `${at} is not aligned to ${align} bytes`;
    placed.push({ name: section.name, start, end });
  }
  const end = placed.reduce((last, each) => (inText(module, each.start) && each.end > last ? each.end : last), 0n);
  const textEnd = module.text.base + BigInt(module.text.size);
  // The loader rounds up to pages. A claim beyond that is a damaged one when the memory is another's.
  const other =
    textEnd - end < 2n * PAGE ? undefined : all.find((each) => each !== module && overlaps(each, end, textEnd));
  if (end !== 0n && other !== undefined)
    return `its text claims ${module.text.size} bytes, of which the last lie in the memory of ${other.name}`;
  placed.sort((a, b) => (a.start < b.start ? -1 : 1));
  for (let i = 1; i < placed.length; i++) {
    const [before, after] = [placed[i - 1], placed[i]];
    if (after.start < before.end) return `${after.name} at ${formatAddress(after.start)} lies inside of ${before.name}`;
  }
  return undefined;
}

function inText({ text }: KernelModule, address: bigint): boolean {
  return address >= text.base && address < text.base + BigInt(text.size);
}

function overlaps({ text }: KernelModule, start: bigint, end: bigint): boolean {
  return text.size > 0 && text.base < end && text.base + BigInt(text.size) > start;
}
