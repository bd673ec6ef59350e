// How WHERE was understood, in words, where the name alone does not tell.
import { formatAddress } from "../bytes/brand.ts";
import type { ResolvedPlace } from "../kernel/where.ts";

const SHOWN = 3;

/** Tells which other symbols have the name. */
export function tellOthers(place: ResolvedPlace, where: string, note: (sentence: string) => void): void {
  if (place.others.length === 0) return;
  const shown = place.others
    .slice(0, SHOWN)
    .map((symbol) => `${formatAddress(symbol.address)}${symbol.module ? ` [${symbol.module}]` : ""}`);
  const more = place.others.length > SHOWN ? ", …" : "";
  note(`${where} has ${place.others.length} more of the name: ${shown.join(", ")}${more}`);
}
