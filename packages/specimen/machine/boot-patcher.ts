// Rewrites the text of the running kernel: each site's own declaration says what it becomes on this machine. No
// table is read and nothing of core/src/sites is used, so the result can judge that code.
import { toHex } from "../bytes.ts";
import type { Machine, SiteDeclaration } from "../object/unit.ts";
import { isInitAddress, type Running } from "./running.ts";

/** A site as the finished specimen has it. */
export interface TrueSite {
  readonly mechanism: string;
  /** "vmlinux" or the module's name */
  readonly object: string;
  readonly address: bigint;
  readonly length: number;
  readonly slot?: string;
  /** hex text; relocated to this boot, not patched */
  readonly built: string;
  /** hex text; what the healthy kernel holds */
  readonly found: string;
}

function apply(
  r: Running,
  object: string,
  sites: readonly SiteDeclaration[],
  locate: (s: SiteDeclaration) => bigint | undefined,
  machine: Machine,
): TrueSite[] {
  const placed = sites.flatMap((site) => {
    const address = locate(site);
    return address === undefined ? [] : [{ site, address, built: toHex(r.memory.space.read(address, site.length)) }];
  });
  for (const { site, address } of placed) {
    const bytes = site.after(machine, address);
    if (bytes === undefined) continue;
    if (bytes.length !== site.length)
      throw new Error(`${object}: a ${site.mechanism} site of ${site.length} bytes becomes ${bytes.length}`);
    r.memory.write(address, bytes);
  }
  return placed.map(({ site, address, built }) => ({
    mechanism: site.mechanism,
    object,
    address,
    length: site.length,
    slot: site.slot,
    built,
    found: toHex(r.memory.space.read(address, site.length)),
  }));
}

/** Patches core and modules; sites in memory that was freed after boot are left out. */
export function patchText(r: Running): TrueSite[] {
  const place = (s: SiteDeclaration) => `@${s.section}:${s.offset}`;
  const out = apply(
    r,
    "vmlinux",
    r.unit.sites,
    (s) => {
      const address = r.core.address(place(s));
      return isInitAddress(r.core, address) ? undefined : address;
    },
    r.machine,
  );
  for (const m of r.modules) {
    const machine: Machine = { ...r.machine, address: (symbol) => m.loaded.address(symbol) };
    const init = (s: SiteDeclaration) => s.section.startsWith(".init") && !m.coming;
    // alternatives_smp_module_add() takes .text only.
    const locate = (s: SiteDeclaration) => (init(s) ? undefined : m.loaded.address(place(s)));
    out.push(...apply(r, m.unit.name, m.unit.sites, locate, machine));
  }
  return out;
}
