// `site`: the layers of one place, annotated. `dis`: what is in memory, patched parts marked.
import type { Command } from "commander";
import { type NotChecked, openCore, openModule } from "../../../core/src/audit/audit.ts";
import { auditObject, type ObjectAudit } from "../../../core/src/audit/object-audit.ts";
import { dumpFacts, kernelFacts } from "../../../core/src/audit/result.ts";
import { SiteIndex } from "../../../core/src/audit/site-index.ts";
import { decodedLines, siteView } from "../../../core/src/audit/site-view.ts";
import { coreFromMemory, moduleFromMemory } from "../../../core/src/built/from-memory.ts";
import type { BuiltObject } from "../../../core/src/built/object.ts";
import { addressAdd, formatAddress, toKernelOffset, type VirtualAddress } from "../../../core/src/bytes/brand.ts";
import { PalimpsestError } from "../../../core/src/bytes/errors.ts";
import { type ResolvedPlace, resolvePlace } from "../../../core/src/kernel/where.ts";
import { disassembleText, siteText } from "../../../core/src/report/site-text.ts";
import type { DisassembleResult, SiteResult } from "../../../core/src/results/results.ts";
import { readPatchState } from "../../../core/src/sites/base/patch-state.ts";
import { replayObject } from "../../../core/src/sites/replay.ts";
import { UsageError } from "../../../node/src/refusals.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import {
  COULD_NOT,
  type CommandContext,
  dumpCommand,
  FOUND,
  printResult,
  wholeNumber,
  wholeNumberOption,
  withDump,
} from "./common.ts";

const WHERE = "an address, symbol, symbol+0x10 or module:symbol";

export function registerSite(program: Command): void {
  dumpCommand(program, "site", "<where>", `the layers of one place, annotated (${WHERE})`).action(
    (dump: string, where: string, _options: unknown, command: Command) => site(dump, where, command),
  );
  dumpCommand(program, "dis", "<where>", `disassembly of what is in memory, patched parts marked (${WHERE})`)
    .addOption(
      wholeNumberOption("--bytes <n>", "bytes to disassemble (default: to the end of the function, at most 4096)"),
    )
    .action((dump: string, where: string, _options: unknown, command: Command) => dis(dump, where, command));
}

interface Around {
  readonly object: ObjectAudit;
  /** Why there is no built layer, when there is none. */
  readonly notChecked: readonly NotChecked[];
}

/** The audit of the object that holds the address; without its image, of what the dump alone tells. */
async function auditAround(context: CommandContext, address: VirtualAddress): Promise<Around> {
  const { kernel, session, options } = context;
  const images = await session.images();
  const module = kernel.modules.find((each) =>
    each.regions.some((region) => address >= region.base && address < region.base + BigInt(region.size)),
  );
  const state = readPatchState(kernel, []);
  const audit = (object: BuiltObject): ObjectAudit => auditObject(kernel, replayObject(kernel, object, state));
  try {
    if (module !== undefined) {
      return { object: audit(openModule(kernel, module, images, options.force)), notChecked: [] };
    }
    if (images.core !== undefined) return { object: audit(openCore(kernel, images.core)), notChecked: [] };
    throw new UsageError(images.coreProblem ?? "no image of this kernel was found", undefined, "missing");
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    const object = module === undefined ? coreFromMemory(kernel) : moduleFromMemory(kernel, module);
    if (object === undefined) throw error;
    return { object: audit(object), notChecked: [{ object: object.name, reason: error.message }] };
  }
}

export function tellOthers(place: ResolvedPlace, where: string): void {
  if (place.others.length === 0) return;
  const shown = place.others
    .slice(0, 3)
    .map((symbol) => `${formatAddress(symbol.address)}${symbol.module ? ` [${symbol.module}]` : ""}`);
  note(
    `palimpsest: ${where} has ${place.others.length} more of the name: ${shown.join(", ")}${place.others.length > 3 ? ", …" : ""}`,
  );
}

async function site(dump: string, where: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, async (context) => {
    const { kernel } = context;
    const place = resolvePlace(kernel, where);
    tellOthers(place, where);
    const { object, notChecked } = await auditAround(context, place.address);
    const result: SiteResult = {
      schema: "palimpsest/site/1",
      dump: dumpFacts(kernel),
      kernel: kernelFacts(kernel),
      ...siteView(kernel, object, place.address),
      notChecked,
    };
    printResult(options, result, (r) => siteText(r, context.paint));
    if (result.findings.length > 0) return FOUND;
    return notChecked.length > 0 ? COULD_NOT : 0;
  });
}

async function dis(dump: string, where: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions & { bytes?: string }>();
  await withDump(dump, options, async (context) => {
    const { kernel } = context;
    const place = resolvePlace(kernel, where);
    tellOthers(place, where);
    const near = kernel.allSymbols.nearest(place.address);
    const rest = near?.size === undefined ? 64 : near.size - near.offset;
    const length = Math.min(4096, wholeNumber(options.bytes, Math.max(1, Math.min(4096, rest))));
    const bytes = kernel.memory.read(place.address, length);
    const { object, notChecked } = await auditAround(context, place.address);
    const index = new SiteIndex(object.replayed.sites);
    const lines = decodedLines(kernel, bytes, place.address).map((line) => {
      const offset = toKernelOffset(BigInt(line.address));
      const hit = offset === undefined ? undefined : index.covering(offset)[0];
      return hit === undefined ? line : { ...line, mechanism: hit.list.mechanism };
    });
    for (const { reason } of notChecked) note(`palimpsest: not every patched part is marked: ${reason}`);
    const result: DisassembleResult = {
      schema: "palimpsest/dis/1",
      dump: dumpFacts(kernel),
      kernel: kernelFacts(kernel),
      address: formatAddress(place.address),
      symbol: near === undefined ? "" : near.symbol.name,
      end: formatAddress(addressAdd(place.address, length)),
      marked: notChecked.length === 0,
      lines,
    };
    printResult(options, result, (r) => disassembleText(r, context.paint));
    return 0;
  });
}
