// `site`: the layers of one place, annotated. `dis`: what is in memory, patched parts marked.
import type { NotChecked } from "../audit/audit.ts";
import type { ObjectAudit } from "../audit/object-audit.ts";
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { SiteIndex } from "../audit/site-index.ts";
import { decodedLines, siteView } from "../audit/site-view.ts";
import { addressAdd, formatAddress, toKernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import { resolvePlace } from "../kernel/where.ts";
import type { DisassembleResult, SiteResult } from "../results/results.ts";
import type { Parts } from "./parts.ts";
import { UsageError } from "./refusals.ts";

/** Most bytes that are disassembled, and how many where no symbol tells the function's end. */
const MOST = 4096;
const WITHOUT_SIZE = 64;

interface Around {
  readonly object: ObjectAudit;
  /** Why there is no built layer, when there is none. */
  readonly notChecked: readonly NotChecked[];
}

/** The audit of the object that holds the address; without its image, of what the dump alone tells. */
async function auditAround(parts: Parts, address: VirtualAddress): Promise<Around> {
  const module = parts.kernel.modules.find((each) =>
    each.regions.some((region) => address >= region.base && address < region.base + BigInt(region.size)),
  );
  const { object, lacking, notOpened, notJudged } = (await parts.auditor()).auditOne(module);
  if (object === undefined)
    throw new UsageError(lacking ?? [...notOpened, ...notJudged][0].reason, undefined, "missing");
  return { object, notChecked: lacking === undefined ? [] : [{ object: object.name, reason: lacking }] };
}

/** The layers of one place. @throws MissingError when it lies in no audited code; AddressError when it is not in the dump */
export async function siteOf(parts: Parts, where: string): Promise<SiteResult> {
  const { kernel } = parts;
  const place = resolvePlace(kernel, where);
  parts.tellOthers(place, where);
  const { object, notChecked } = await auditAround(parts, place.address);
  return {
    schema: "palimpsest/site/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    ...siteView(kernel, object, place.address),
    notChecked,
  };
}

/** @param asked bytes; default: to the end of the function */
export async function disassemblyOf(parts: Parts, where: string, asked?: number): Promise<DisassembleResult> {
  const { kernel } = parts;
  const place = resolvePlace(kernel, where);
  parts.tellOthers(place, where);
  const near = kernel.allSymbols.nearest(place.address);
  const rest = near?.size === undefined ? WITHOUT_SIZE : near.size - near.offset;
  const length = Math.min(MOST, asked ?? Math.max(1, Math.min(MOST, rest)));
  const bytes = kernel.memory.read(place.address, length);
  const { object, notChecked } = await auditAround(parts, place.address);
  const index = new SiteIndex(object.replayed.sites);
  const lines = decodedLines(kernel, bytes, place.address).map((line) => {
    const offset = toKernelOffset(BigInt(line.address));
    const hit = offset === undefined ? undefined : index.covering(offset)[0];
    return hit === undefined ? line : { ...line, mechanism: hit.list.mechanism };
  });
  for (const { reason } of notChecked) parts.note(`not every patched part is marked: ${reason}`);
  return {
    schema: "palimpsest/dis/1",
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    address: formatAddress(place.address),
    symbol: near === undefined ? "" : near.symbol.name,
    offset: near?.offset ?? null,
    end: formatAddress(addressAdd(place.address, length)),
    marked: notChecked.length === 0,
    lines,
  };
}
