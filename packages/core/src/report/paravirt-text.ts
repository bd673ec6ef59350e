// The section "Paravirtualisation" of `info`.
import type { ParavirtFacts } from "../results/paravirt-results.ts";
import { bare, counted } from "./format.ts";
import type { Paint } from "./paint.ts";

/** Its lines, the heading first. */
export function paravirtLines(facts: ParavirtFacts, paint: Paint): string[] {
  const lines = [paint.bold("Paravirtualisation")];
  const row = (name: string, value: string): void => {
    lines.push(`  ${name.padEnd(38)}  ${value}`);
  };
  row("spinlocks", facts.spinlocks);
  for (const { name, value } of [...facts.hypervisor, ...facts.keys]) row(name, value);
  for (const slot of facts.lockSlots) {
    const what = [slot.implementation ?? "", slot.hypervisor ?? ""].filter((part) => part !== "");
    const kind = what.length === 0 ? "" : paint.dim(`  ${[...new Set(what)].join(", ")}`);
    row(slot.name, `${slot.value === null ? "" : `${bare(slot.value)} `}${slot.symbol}${kind}`);
  }
  for (const slot of facts.otherSlots.filter((each) => !each.native)) row(slot.name, slot.symbol);
  const native = facts.otherSlots.filter((each) => each.native).length;
  if (native > 0)
    lines.push(paint.dim(`  ${counted(native, "more slot")} hold native functions, NOPs or NULL (--json lists them)`));
  for (const { name, value } of facts.smpOps) {
    if (value !== "NULL" && !/^native_/.test(value)) row(`smp_ops.${name}`, value);
  }
  return lines;
}
