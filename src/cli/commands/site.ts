// `site`: the layers of one place, annotated. `dis`: what is in memory, patched parts marked.
import type { Command } from "commander";
import { openCore, openModule } from "../../audit/audit.ts";
import { auditObject, type ObjectAudit } from "../../audit/object-audit.ts";
import { dumpFacts, kernelFacts } from "../../audit/result.ts";
import { SiteIndex } from "../../audit/site-index.ts";
import { decodedLines, siteView } from "../../audit/site-view.ts";
import { addressAdd, formatAddress, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { MissingError } from "../../bytes/errors.ts";
import type { DisassembleResult, SiteResult } from "../../findings/results.ts";
import { type Place, resolvePlace } from "../../kernel/where.ts";
import { disassembleText, siteText } from "../../report/site-text.ts";
import { readPatchState } from "../../sites/patch-state.ts";
import { replayObject } from "../../sites/replay.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import {
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

/** The audit of the object that holds the address. */
async function auditAround(context: CommandContext, address: VirtualAddress): Promise<ObjectAudit> {
  const { kernel, session, options } = context;
  const images = await session.images();
  const module = kernel.modules.find((each) =>
    each.regions.some((region) => address >= region.base && address < region.base + BigInt(region.size)),
  );
  const state = readPatchState(kernel, []);
  if (module !== undefined) {
    return auditObject(kernel, replayObject(kernel, openModule(kernel, module, images, options.force), state));
  }
  if (images.core === undefined)
    throw new MissingError(images.coreProblem ?? "the kernel's image", "give it with --image");
  return auditObject(kernel, replayObject(kernel, openCore(kernel, images.core), state));
}

function tellOthers(place: Place, where: string): void {
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
    const object = await auditAround(context, place.address);
    const result: SiteResult = {
      schema: "palimpsest/site/1",
      dump: dumpFacts(kernel),
      kernel: kernelFacts(kernel),
      ...siteView(kernel, object, place.address),
      notChecked: [],
    };
    printResult(options, result, (r) => siteText(r, context.paint));
    return result.findings.length > 0 ? FOUND : 0;
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
    let lines = decodedLines(kernel, bytes, place.address);
    let marked = true;
    try {
      const object = await auditAround(context, place.address);
      const index = new SiteIndex(object.replayed.sites);
      lines = lines.map((line) => {
        const offset = toKernelOffset(BigInt(line.address));
        const hit = offset === undefined ? undefined : index.covering(offset)[0];
        return hit === undefined ? line : { ...line, mechanism: hit.list.mechanism };
      });
    } catch (error) {
      if (!(error instanceof MissingError)) throw error;
      marked = false;
      note(`palimpsest: patched parts are not marked: ${error.message}`);
    }
    const result: DisassembleResult = {
      schema: "palimpsest/dis/1",
      dump: dumpFacts(kernel),
      kernel: kernelFacts(kernel),
      address: formatAddress(place.address),
      symbol: near === undefined ? "" : near.symbol.name,
      end: formatAddress(addressAdd(place.address, length)),
      marked,
      lines,
    };
    printResult(options, result, (r) => disassembleText(r, context.paint));
    return 0;
  });
}
