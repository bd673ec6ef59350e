// `read`: what is in memory at a place, as bytes or as a structure.
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { addressAdd, formatAddress, physicalAddress, type VirtualAddress } from "../bytes/brand.ts";
import { AddressError } from "../bytes/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { structureValues } from "../kernel/layouts/structure-values.ts";
import { resolveType } from "../kernel/layouts/type-names.ts";
import { describeAddress, resolvePlace } from "../kernel/where.ts";
import type { ReadResult } from "../results/read-results.ts";
import { UsageError } from "./refusals.ts";

/** Without a length: a symbol's own bytes, up to so many. */
const USUAL = 256;
const WITHOUT_SYMBOL = 64;
/** A dump is no stream: more than a person reads and a program should take from the file itself. */
export const MOST_READ = 16 << 20;

export interface ReadOptions {
  /** bytes; default: those of the type, else of the symbol, at most 256 */
  readonly length?: number;
  /** "struct module", "task_struct.thread", "u64": the type that is shown */
  readonly type?: string;
  /** WHERE is a physical address. */
  readonly physical?: boolean;
}

/** @throws UsageError for a length out of range, or a type of a physical address */
export function readOf(kernel: Kernel, where: string, { length, type, physical }: ReadOptions): ReadResult {
  if (length !== undefined && !(Number.isInteger(length) && length >= 1 && length <= MOST_READ))
    throw new UsageError(
      `"${length}" is no length: 1 to ${MOST_READ} bytes, decimal or 0x…`,
      "palimpsest read DUMP WHERE 0x100",
    );
  if (physical !== true) return readVirtual(kernel, resolvePlace(kernel, where).address, length, type);
  if (type !== undefined)
    throw new UsageError("--type shows virtual addresses only", "palimpsest read DUMP WHERE --type NAME");
  return readPhysical(kernel, where, length ?? WITHOUT_SYMBOL);
}

/** @throws AddressError when not one byte is there; MissingError for an unknown type */
export function readVirtual(kernel: Kernel, address: VirtualAddress, asked?: number, typeName?: string): ReadResult {
  const near = kernel.allSymbols.nearest(address);
  const type = typeName === undefined ? undefined : resolveType(kernel.types, typeName);
  const member = type?.path === undefined ? undefined : kernel.types.member(type.type, type.path);
  // A named member is read where it lies in the structure that stands at WHERE.
  const start = addressAdd(address, member?.offset ?? 0);
  const own = near?.offset === 0 && near.size !== undefined ? Math.min(near.size, USUAL) : WITHOUT_SYMBOL;
  const size = type === undefined ? undefined : (member?.size ?? kernel.types.sizeOf(type.type));
  const length = asked ?? (size === undefined || size === 0 ? own : Math.min(size, MOST_READ));
  const bytes = new Uint8Array(length);
  const gaps: Gap[] = [];
  kernel.memory.readPresent(start, bytes, (offset, run, why) =>
    gaps.push({ offset, length: run, reason: reasonOf(why) }),
  );
  if (gaps.length === 1 && gaps[0].length === length) kernel.memory.read(start, Math.min(length, 4096));
  const shown = type && structureValues(kernel, address, type.type, type.path);
  const physical = kernel.memory.tryTranslate(start)?.physical;
  return {
    ...head(kernel, start, length, bytes, gaps),
    physical: physical === undefined ? null : formatAddress(physical),
    symbol: near === undefined ? "" : describeAddress(kernel, start),
    type:
      shown === undefined || type === undefined
        ? null
        : {
            name: type.path === undefined ? type.type : `${type.type}.${type.path}`.replace(".[", "["),
            source: kernel.types.originOf(type.type) ?? kernel.types.origin,
            members: shown.members.map(({ typeName: of, value, path, offset, size: bytesOf, bitOffset, bitSize }) => ({
              path,
              offset,
              size: bytesOf,
              type: of,
              ...(bitSize === undefined ? {} : { bitOffset: bitOffset ?? 0, bitSize }),
              value: value ?? null,
            })),
            leftOut: shown.leftOut,
          },
  };
}

function readPhysical(kernel: Kernel, where: string, length: number): ReadResult {
  if (!/^(0x)?[0-9a-f]{1,16}$/i.test(where))
    throw new UsageError(`"${where}" is no physical address`, "palimpsest read DUMP 0x1000000 --physical");
  const address = physicalAddress(BigInt(where.toLowerCase().startsWith("0x") ? where : `0x${where}`));
  const bytes = new Uint8Array(length);
  const gaps: Gap[] = [];
  kernel.dump.physical.read(address, bytes, (offset, run) =>
    gaps.push({ offset, length: run, reason: "this page of the machine's memory was not saved" }),
  );
  if (gaps.reduce((sum, gap) => sum + gap.length, 0) === length)
    throw new AddressError(address, "page", "this physical address is not in the dump");
  return { ...head(kernel, address, length, bytes, gaps), physical: formatAddress(address), symbol: "", type: null };
}

interface Gap {
  readonly offset: number;
  readonly length: number;
  readonly reason: string;
}

function reasonOf(error: AddressError | undefined): string {
  return error === undefined ? "the page was not saved" : `${error.problem} (${error.level})`;
}

function head(kernel: Kernel, start: bigint, length: number, bytes: Uint8Array, gaps: readonly Gap[]) {
  const rows: { address: string; bytes: string; ascii: string }[] = [];
  let gap = 0;
  for (let row = 0; row < length; row += 16) {
    const end = Math.min(row + 16, length);
    const hex: string[] = [];
    let ascii = "";
    let there = 0;
    for (let i = row; i < end; i++) {
      while (gap < gaps.length && gaps[gap].offset + gaps[gap].length <= i) gap++;
      const absent = gap < gaps.length && gaps[gap].offset <= i;
      if (!absent) there++;
      hex.push(absent ? "??" : bytes[i].toString(16).padStart(2, "0"));
      ascii += absent ? "?" : bytes[i] >= 0x20 && bytes[i] < 0x7f ? String.fromCharCode(bytes[i]) : ".";
    }
    if (there > 0) rows.push({ address: formatAddress(start + BigInt(row)), bytes: hex.join(" "), ascii });
  }
  return {
    schema: "palimpsest/read/1" as const,
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    address: formatAddress(start),
    length,
    rows,
    absent: gaps.map((each) => ({
      address: formatAddress(start + BigInt(each.offset)),
      length: each.length,
      reason: each.reason,
    })),
  };
}
