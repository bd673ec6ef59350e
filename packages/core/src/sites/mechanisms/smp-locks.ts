// SMP lock prefixes: on a machine that comes up with one CPU the LOCK prefixes listed in .smp_locks become DS prefixes,
// and LOCK again when a second CPU appears (arch/x86/kernel/alternative.c; gone in 7.3).
import { heldLock } from "../base/changes.ts";
import { findSiteTable, type Mechanism, placesOf } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { SiteArrays } from "../base/site.ts";

const LOCK = 0xf0;
const DS = 0x3e;

export const applySmpLocks: Mechanism = (context) => {
  const table = findSiteTable(
    context,
    { mechanism: "smp-locks", size: 4 },
    ".smp_locks",
    "__smp_locks",
    "__smp_locks_end",
  );
  if (table === undefined) return undefined;
  const { space, state } = context;
  const places = placesOf(table);
  const sites = new SiteArrays(places.length);
  const id = mechanismId("smp-locks");
  const bytes = new Uint8Array(1);
  // alternatives_smp_module_add() is given _text … _etext of the core and, up to 6.3, only the section .text of a module;
  // with struct module.mem (ac3b43283923, 6.4) all of MOD_TEXT.
  const whole = context.object.name === "vmlinux" || context.kernel.structures.has("struct module", "mem");
  const text = whole ? undefined : context.object.section(".text");
  let entries = 0;
  for (let i = 0; i < places.length; i++) {
    // The section is padded to a page in vmlinux: a zero offset is no entry (`!*poff`).
    if (places[i] === table.start + i * 4) continue;
    entries++;
    sites.add(places[i], 1);
    if (text !== undefined && (places[i] < text.start || places[i] >= text.start + text.bytes.length)) continue;
    const current = space.read(places[i], 1);
    if (current === undefined) continue;
    if (state.uniproc && current[0] === LOCK) bytes[0] = DS;
    else if (!state.uniproc && current[0] === DS) bytes[0] = LOCK;
    else continue;
    space.write(places[i], bytes, id);
  }
  // alternatives_enable_smp() clears uniproc_patched when it is through.
  const switching = heldLock(context, "text_mutex");
  return {
    mechanism: "smp-locks",
    object: context.object.name,
    entries,
    table: `${table.name} (4-byte entries)`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    pending: state.uniproc && switching ? { evidence: switching, forms: () => [Uint8Array.of(LOCK)] } : undefined,
    describe: () => ({
      slot: { name: "uniproc_patched", value: state.uniproc ? "true: one CPU" : "false: SMP" },
      reason: state.uniproc ? "the machine came up with one CPU: no LOCK" : "SMP: LOCK",
      forms: [
        { name: "LOCK prefix", bytes: Uint8Array.of(LOCK) },
        { name: "DS prefix (no LOCK, one CPU)", bytes: Uint8Array.of(DS) },
      ],
    }),
  };
};
