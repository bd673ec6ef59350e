// The text of `site`: rows of the dump, then each layer decoded with its call sums, as the engineers of bug 838026 put it
// together by hand.
import type { DisassembleResult, SiteFileFacts, SiteResult } from "../results/results.ts";
import { bare } from "./format.ts";
import { headLines } from "./head-text.ts";
import type { Paint } from "./paint.ts";

/** The whole view. */
export function siteText(result: SiteResult, paint: Paint): string {
  const lines = [...headLines(result, paint), ""];
  lines.push(`${paint.bold(result.symbol)}  ${bare(result.address)}  ${result.object} ${result.section}`, "");
  for (const row of result.rows) lines.push(`  ${bare(row.address)}: ${row.bytes}  ${row.ascii}`);
  if (result.file !== undefined) lines.push("", ...fileLines(result.file, paint));
  const same = result.layers.every((layer) => layer.bytes === result.layers[0].bytes);
  const layers = same ? result.layers.slice(-1) : result.layers;
  const names = result.layers.map((layer) => layer.layer).join(" = ");
  for (const layer of layers) {
    lines.push("", paint.bold(same ? names : layer.layer));
    for (const line of layer.lines) {
      lines.push(`  ${bare(line.address)}: ${line.bytes.padEnd(24)}  ${line.text}`);
      if (line.sum !== undefined) lines.push(paint.cyan(`    ${line.sum}`));
    }
    if (layer.layer === "built" && result.file === undefined) {
      for (const relocation of result.relocations) {
        lines.push(`  ${bare(relocation.address)}: ${relocation.type} ${relocation.symbol}`);
      }
    }
  }
  for (const site of result.sites) {
    lines.push("", `${paint.bold(site.mechanism)} site ${bare(site.address)}, ${site.length} bytes`);
    if (site.slot !== undefined) {
      const at = site.slot.address === undefined ? "" : ` at ${bare(site.slot.address)}`;
      lines.push(`  slot     ${site.slot.name}${at} = ${site.slot.value}`);
    }
    lines.push(`  state    ${site.reason}`);
    for (const form of site.forms) lines.push(`  form     ${form.bytes.padEnd(24)}  ${form.name}`);
    lines.push(`  verdict  ${site.verdict}`);
  }
  if (result.sites.length === 0) {
    const known = result.notChecked.length > 0 ? "No mechanism that the dump itself tells" : "No mechanism";
    lines.push("", `${known} rewrites this place.`);
  }
  for (const { object, reason } of result.notChecked)
    lines.push("", `${paint.yellow("not checked")}: ${object}: ${reason}`);
  lines.push("", `verdict: ${result.findings.length > 0 ? paint.red(result.verdict) : paint.green(result.verdict)}`);
  return `${lines.join("\n")}\n`;
}

/** The object file's instructions, each with the relocations inside it, as objdump -dr has them. */
function fileLines(file: SiteFileFacts, paint: Paint): string[] {
  const lines = [paint.bold(`${file.path.slice(file.path.lastIndexOf("/") + 1)} ${file.section}`)];
  const rest = [...file.relocations];
  for (const line of file.lines) {
    const end = Number(line.offset) + line.bytes.split(" ").length;
    lines.push(`  ${line.offset.slice(2).padStart(16)}: ${line.bytes.padEnd(24)}  ${line.text}`);
    while (rest.length > 0 && Number(rest[0].offset) < end) {
      const relocation = rest.shift();
      if (relocation)
        lines.push(`  ${relocation.offset.slice(2).padStart(16)}: ${relocation.type} ${relocation.symbol}`);
    }
  }
  return lines;
}

/** The text of `dis`: one instruction a line with its place in the function, what it calls and the mechanism of a patched one. */
export function disassembleText(result: DisassembleResult, paint: Paint): string {
  const start = BigInt(result.address) - BigInt(result.offset ?? 0);
  const plus = (address: string): string => `+0x${(BigInt(address) - start).toString(16)}`;
  const width = Math.max(6, ...result.lines.map((line) => plus(line.address).length));
  const bytes = Math.max(15, ...result.lines.map((line) => line.bytes.length));
  const lines = [`${paint.bold(result.symbol)}  ${bare(result.address)} … ${bare(result.end)}`];
  for (const line of result.lines) {
    const place = result.offset === null ? "" : ` ${plus(line.address).padEnd(width)}`;
    const target = line.target === undefined ? "" : paint.cyan(`  # ${line.target.symbol}`);
    const mark = line.mechanism === undefined ? "" : paint.yellow(`  <${line.mechanism}>`);
    lines.push(`  ${bare(line.address)}${place}  ${line.bytes.padEnd(bytes)}  ${line.text}${target}${mark}`);
  }
  return `${lines.join("\n")}\n`;
}
