// Pages of code that belong to a mitigation or a hypervisor: ITS thunks of modules, the Hyper-V hypercall page.

import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { INT3 } from "../../x86/encode.ts";
import { type Comparison, compareGenerated, type GeneratedCode } from "./generated-entry.ts";

const PAGE = 4096;
const MAX_PAGES = 4096;
const MODULE = "struct module";

export function otherPages(kernel: Kernel, problems: string[]): GeneratedCode[] {
  return [...itsPages(kernel, problems), ...hypercallPage(kernel)];
}

/** module.its_page_array (stable kernels of May 2025), module.arch.its_pages {pages, num} since 6.16. */
function itsPages(kernel: Kernel, problems: string[]): GeneratedCode[] {
  const { structures: s, memory } = kernel;
  const layout = [
    ["its_page_array", "its_num_pages"],
    ["arch.its_pages.pages", "arch.its_pages.num"],
  ].find(([pages, count]) => s.has(MODULE, pages) && s.has(MODULE, count));
  if (layout === undefined) return [];
  const out: GeneratedCode[] = [];
  for (const module of kernel.modules) {
    const count = s.number(module.address, MODULE, layout[1]);
    if (count === 0) continue;
    if (count > MAX_PAGES) {
      problems.push(`module ${module.name} claims ${count} pages of ITS thunks, which is not believed`);
      continue;
    }
    const array = s.pointer(module.address, MODULE, layout[0]);
    for (let i = 0; i < count; i++) {
      const address = memory.pointer(addressAdd(array, i * 8));
      out.push({ kind: "its-thunks", owner: module.name, address, size: PAGE, ...checkThunks(kernel, address) });
    }
  }
  return out;
}

/** Only `jmp *reg; int3` in the upper halves of cache lines, INT3 between. */
function checkThunks(kernel: Kernel, address: VirtualAddress): Comparison {
  const found = kernel.memory.tryRead(address, PAGE);
  if (found === undefined) return { checked: false };
  const expected = new Uint8Array(PAGE).fill(INT3);
  for (let i = 0; i + 3 <= PAGE; i++) {
    const at = found[i] === 0x41 ? i + 1 : i;
    if (found[at] !== 0xff || (found[at + 1] & 0xf8) !== 0xe0 || (at & 0x20) === 0) continue;
    expected.set(found.subarray(i, at + 2), i);
    i = at + 2;
  }
  return compareGenerated(found, expected);
}

/** hv_hypercall_pg: mapped over a page that the hypervisor fills. */
function hypercallPage(kernel: Kernel): GeneratedCode[] {
  const at = kernel.find("hv_hypercall_pg");
  const bytes = at === undefined ? undefined : kernel.memory.tryRead(at, 8);
  const address = bytes && getU64(bytes, 0);
  if (address === undefined || address === 0n) return [];
  return [{ kind: "hypercall-page", owner: "Hyper-V", address: address as VirtualAddress, size: PAGE, checked: false }];
}
