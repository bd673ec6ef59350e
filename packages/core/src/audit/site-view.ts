// The view that two engineers once made by hand: the bytes of one place in every layer, decoded, with the call sums, the
// mechanism, its slot and the verdict.
import {
  addressAdd,
  formatAddress,
  fromKernelOffset,
  type KernelOffset,
  toKernelOffset,
  type VirtualAddress,
} from "../bytes/brand.ts";
import { AddressError, MissingError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { describeAddress } from "../kernel/where.ts";
import type { DisassembledLine, SiteFacts, SiteFileFacts, SiteResult } from "../results/results.ts";
import type { Finding } from "../results/types.ts";
import { nearestName } from "../sites/base/context.ts";
import { MECHANISMS } from "../sites/base/mechanisms.ts";
import { type PatchRegion, UNJUDGED } from "../sites/base/patch-space.ts";
import { nameAddress } from "../symbols/place.ts";
import { disassemble } from "../x86/disassemble.ts";
import { hexBytes } from "../x86/encode.ts";
import type { ObjectAudit } from "./object-audit.ts";
import { SiteIndex } from "./site-index.ts";

/** How much is shown around a place that is no site: the instruction there and what fits in two rows. */
const CONTEXT = 32;
const ROW = 16;
/** of an x86 instruction */
const LONGEST = 15;
/** Functions beyond this size are not walked to find where an instruction begins. */
const LONGEST_WALK = 1 << 16;

/** One instruction with its call sum: next address + displacement => target (type) symbol. */
export function decodedLines(kernel: Kernel, bytes: Uint8Array, at: VirtualAddress): DisassembledLine[] {
  return disassemble(bytes, at).map((line) => {
    let sum: string | undefined;
    if (line.target !== undefined) {
      const next = addressAdd(line.address, line.bytes.length);
      const displacement = BigInt.asUintN(64, line.target - next);
      sum = `${hex(next)} + ${hex(displacement)} => ${hex(line.target)} ${describeAddress(kernel, line.target)}`;
    } else if (line.memory !== undefined) {
      sum = `${hex(line.memory)} ${describeAddress(kernel, line.memory)}`;
    }
    const named = line.target ?? line.memory;
    return {
      address: formatAddress(line.address),
      bytes: hexBytes(line.bytes),
      text: line.text,
      sum,
      ...(named === undefined
        ? {}
        : { target: { address: formatAddress(named), symbol: nameAddress(kernel.allSymbols, named) } }),
    };
  });
}

const hex = (value: bigint): string => value.toString(16).padStart(16, "0");

/** Rows of 16 bytes, aligned, with the characters as `crash rd -8` and hexdump show them. */
export function hexRows(
  kernel: Kernel,
  start: VirtualAddress,
  length: number,
): { address: string; bytes: string; ascii: string }[] {
  const first = start & ~BigInt(ROW - 1);
  const last = (start + BigInt(length) + BigInt(ROW - 1)) & ~BigInt(ROW - 1);
  const rows: { address: string; bytes: string; ascii: string }[] = [];
  for (let at = first; at < last; at += BigInt(ROW)) {
    const address = addressAdd(at as VirtualAddress, 0);
    const bytes = new Uint8Array(ROW);
    const missing = new Uint8Array(ROW);
    kernel.memory.readPresent(address, bytes, (offset, count) => missing.fill(1, offset, offset + count));
    rows.push({
      address: formatAddress(address),
      bytes: Array.from(bytes, (byte, i) => (missing[i] ? "--" : byte.toString(16).padStart(2, "0"))).join(" "),
      ascii: Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join(""),
    });
  }
  return rows;
}

/**
 * The view of one address inside an audited object.
 * @throws MissingError when the address lies in none of its regions, AddressError when its bytes are not in the dump
 */
export function siteView(
  kernel: Kernel,
  object: ObjectAudit,
  address: VirtualAddress,
): Omit<SiteResult, "schema" | "dump" | "kernel" | "notChecked"> {
  const offset = toKernelOffset(address);
  const region = offset === undefined ? undefined : [...object.found.keys()].find((each) => contains(each, offset));
  if (region === undefined || offset === undefined) {
    throw new MissingError(
      `audited code at ${formatAddress(address)}`,
      `it lies in no executable section of ${object.name}`,
    );
  }
  const found = object.found.get(region);
  const at = offset - region.start;
  const absent = found?.absent.some((gap) => at >= gap.offset && at < gap.offset + gap.length) ?? true;
  if (found === undefined || absent) throw new AddressError(address, "page", "not in the dump");
  const index = new SiteIndex(object.replayed.sites);
  let hits = index.covering(offset);
  let start = offset;
  let end = offset + 1;
  for (const hit of hits) {
    start = Math.min(start, hit.start);
    end = Math.max(end, hit.start + hit.length);
  }
  if (hits.length === 0) {
    start = instructionAround(kernel, region, found.bytes, offset);
    const shown = found.bytes.subarray(start - region.start, at + CONTEXT + LONGEST);
    end = start + wholeInstructions(shown, fromKernelOffset(start), at - (start - region.start) + CONTEXT);
    const all = Array.from({ length: end - start }, (_, i) => index.covering((start + i) as KernelOffset)).flat();
    hits = all.filter((hit, i) => all.findIndex((each) => each.list === hit.list && each.index === hit.index) === i);
  }
  const from = start - region.start;
  const to = end - region.start;
  const base = fromKernelOffset(start);
  // Without an image what was found stands in for what was built, and tells nothing of its own.
  const known = object.partial ? (["intended", "found"] as const) : (["built", "intended", "found"] as const);
  const layers = known.map((layer) => {
    const bytes = (layer === "found" ? found.bytes : region[layer]).subarray(from, to);
    return { layer, bytes: hexBytes(bytes), lines: decodedLines(kernel, bytes, base) };
  });
  const findings = object.findings.filter((finding) => overlaps(finding, base, to - from));
  const sites: SiteFacts[] = hits.map((hit) => {
    const details = hit.list.describe(hit.index);
    return {
      mechanism: hit.list.mechanism,
      address: formatAddress(fromKernelOffset(hit.start)),
      length: hit.length,
      verdict: verdictOf(region, found.bytes, hit.start - region.start, hit.length, findings, object.partial),
      reason: details.reason,
      slot:
        details.slot === undefined
          ? undefined
          : {
              name: details.slot.name,
              value: details.slot.value,
              address: details.slot.address === undefined ? undefined : formatAddress(details.slot.address),
            },
      forms: details.forms.map((form) => ({ name: form.name, bytes: hexBytes(form.bytes) })),
    };
  });
  return {
    object: object.name,
    section: region.name,
    symbol: nearestName(kernel, offset),
    address: formatAddress(address),
    rows: hexRows(kernel, base, to - from),
    layers,
    file: fileFacts(object, start, end),
    relocations: relocationsIn(object, start, end),
    sites,
    verdict:
      object.partial && hits.length === 0
        ? "unknown: there is no image to compare with"
        : verdictOf(region, found.bytes, from, to - from, findings, object.partial),
    findings,
  };
}

/** Bytes of the instructions that begin before `end`. */
function wholeInstructions(bytes: Uint8Array, at: VirtualAddress, end: number): number {
  let length = 0;
  for (const line of disassemble(bytes, at)) {
    if (length >= end) break;
    length += line.bytes.length;
  }
  return length;
}

/** Start of the instruction that covers the place, counted from its function's start; the place itself when that leads past it. */
function instructionAround(kernel: Kernel, region: PatchRegion, found: Uint8Array, offset: KernelOffset): KernelOffset {
  const near = kernel.allSymbols.nearest(fromKernelOffset(offset));
  if (near === undefined || near.offset === 0 || near.offset > LONGEST_WALK || offset - near.offset < region.start) {
    return offset;
  }
  const first = offset - near.offset;
  const from = first - region.start;
  let at = first;
  for (const line of disassemble(found.subarray(from, offset - region.start + LONGEST), fromKernelOffset(first))) {
    const next = at + line.bytes.length;
    if (next > offset) return line.invalid ? offset : at;
    at = next;
  }
  return offset;
}

const contains = (region: PatchRegion, offset: KernelOffset): boolean =>
  offset >= region.start && offset < region.start + region.built.length;

function overlaps(finding: Finding, start: bigint, length: number): boolean {
  const address = BigInt(finding.address);
  return address < start + BigInt(length) && address + BigInt(finding.length) > start;
}

function verdictOf(
  region: PatchRegion,
  found: Uint8Array,
  from: number,
  length: number,
  findings: readonly Finding[],
  partial: boolean,
): string {
  let patched = false;
  let differs = false;
  const by = new Set<string>();
  for (let i = from; i < from + length; i++) {
    if (found[i] !== region.intended[i]) differs = true;
    else if (found[i] !== region.built[i]) {
      patched = true;
      by.add(MECHANISMS[region.credit[i]] ?? "an unknown mechanism");
    }
  }
  if (!differs && partial) return "as its state calls for";
  if (!differs) return patched ? `patched by ${[...by].join(", ")}, as its state calls for` : "as built";
  if (region.credit.subarray(from, from + length).includes(UNJUDGED)) {
    return "unknown: the state that these bytes follow is not in the dump";
  }
  const finding = findings.find((each) => each.id === "text.foreign" || each.id === "site.stale");
  if (finding === undefined) return "equivalent or in-flight: other bytes, no finding";
  return finding.id === "site.stale" ? `stale: ${finding.form}` : "foreign: nothing explains these bytes";
}

/** The object file's own bytes, with zeros where the loader put addresses. */
function fileFacts(object: ObjectAudit, start: KernelOffset, end: KernelOffset): SiteFileFacts | undefined {
  const built = object.replayed.object;
  const piece = built.inFile?.(start, end - start);
  if (piece === undefined) return undefined;
  const offsetOf = (at: number): string => `0x${(at - start + piece.offset).toString(16)}`;
  return {
    path: built.path,
    section: piece.section,
    lines: disassemble(piece.bytes, BigInt(piece.offset) as VirtualAddress).map((line) => ({
      offset: `0x${line.address.toString(16)}`,
      bytes: hexBytes(line.bytes),
      text: line.text,
    })),
    relocations: relocationsIn(object, start, end).map(({ address, type, symbol }) => ({
      offset: offsetOf(Number(BigInt(address) - fromKernelOffset(0))),
      type,
      symbol,
    })),
  };
}

function relocationsIn(
  object: ObjectAudit,
  start: KernelOffset,
  end: KernelOffset,
): { address: string; type: string; symbol: string }[] {
  const { relocationAt } = object.replayed.object;
  if (relocationAt === undefined) return [];
  const out: { address: string; type: string; symbol: string }[] = [];
  for (let at = start; at < end; at++) {
    const relocation = relocationAt.call(object.replayed.object, at);
    if (relocation === undefined) continue;
    const addend = relocation.addend;
    const sign = addend < 0 ? "-" : "+";
    out.push({
      address: formatAddress(fromKernelOffset(at)),
      type: relocation.type,
      symbol: addend === 0 ? relocation.symbol : `${relocation.symbol}${sign}0x${Math.abs(addend).toString(16)}`,
    });
  }
  return out;
}
