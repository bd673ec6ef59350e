// struct module_sect_attrs without a description of it: found by the name of its sysfs group, "sections", and by the
// names in its rows, which begin with a dot.

import { isInside, type ModuleSample, most } from "./module-sample.ts";
import { isKernelAddress, type Peek } from "./peek.ts";
import type { ShapeMember, StructShape } from "./shape-types.ts";

export interface SectionAttributes {
  /** offset of sect_attrs in struct module */
  readonly at: number;
  readonly shapes: readonly StructShape[];
  readonly evidence: readonly string[];
}

/** sizeof(struct attribute_group): 24 in 3.0, 32 with bin_attrs (3.11), 40 with is_bin_visible (4.4), and later. */
const GROUP_SIZES = [24, 32, 40, 48, 56];
const MAX_SECTIONS = 1024;
const ROWS = 6;
const MAX_STRIDE = 192;
/** offsetof(struct bin_attribute, private): behind struct attribute {name, mode} and size */
const PRIVATE = 24;

export function discoverSectionAttributes(
  peek: Peek,
  samples: readonly ModuleSample[],
  from: number,
): SectionAttributes | undefined {
  const end = Math.min(...samples.map((sample) => sample.view.byteLength));
  for (let at = from; at + 8 <= end; at += 8) {
    if (!most(samples, (m) => isGroup(peek, m.view.getBigUint64(at, true)))) continue;
    for (const m of samples) {
      const rows = findRows(peek, m.view.getBigUint64(at, true), m);
      if (rows !== undefined) return describe(at, rows, samples.length);
    }
    return undefined;
  }
  return undefined;
}

function isGroup(peek: Peek, address: bigint): boolean {
  if (!isKernelAddress(address)) return false;
  const name = peek.u64(address);
  return name !== undefined && peek.text(name, 16) === "sections";
}

interface Rows {
  /** offset of the first row in struct module_sect_attrs */
  readonly first: number;
  /** offset of nsections; undefined since 6.14, where a row without name ends them */
  readonly countAt?: number;
  readonly stride: number;
  readonly addressAt: number;
  /** The row has `char *name` before its address, besides the attribute's own name. */
  readonly ownName: boolean;
}

function findRows(peek: Peek, address: bigint, m: ModuleSample): Rows | undefined {
  for (const group of GROUP_SIZES) {
    const head = peek.view(address + BigInt(group), 8);
    if (head === undefined) continue;
    const count = head.getUint32(0, true);
    if (count >= 2 && count <= MAX_SECTIONS) {
      // {…; unsigned int nsections; struct module_sect_attr {attribute; …; unsigned long address} attrs[]}
      for (let stride = 24; stride <= MAX_STRIDE; stride += 8) {
        const rows = peek.view(address + BigInt(group + 8), stride * Math.min(count, ROWS));
        if (rows === undefined) break;
        if (!rowsFit(peek, rows, stride, stride - 8, m)) continue;
        const ownName = rows.getBigUint64(0, true) === rows.getBigUint64(stride - 16, true);
        return { first: group + 8, countAt: group, stride, addressAt: stride - 8, ownName };
      }
    } else if (isKernelAddress(head.getBigUint64(0, true))) {
      // {…; struct bin_attribute {struct attribute attr; size_t size; void *private; …} attrs[]}
      for (let stride = 40; stride <= MAX_STRIDE; stride += 8) {
        const rows = peek.view(address + BigInt(group), stride * 2);
        if (rows !== undefined && rowsFit(peek, rows, stride, PRIVATE, m)) {
          return { first: group, stride, addressAt: PRIVATE, ownName: false };
        }
      }
    }
  }
  return undefined;
}

/** Every row starts with a section's name; most of their addresses are in the module's blocks. */
function rowsFit(peek: Peek, rows: DataView, stride: number, addressAt: number, m: ModuleSample): boolean {
  let inside = 0;
  let count = 0;
  const seen = new Set<bigint>();
  for (let at = 0; at + stride <= rows.byteLength; at += stride, count++) {
    const name = rows.getBigUint64(at, true);
    if (seen.has(name) || !/^[._]/.test(peek.text(name, 128) ?? "")) return false;
    seen.add(name);
    if (isInside(m, rows.getBigUint64(at + addressAt, true))) inside++;
  }
  return inside * 2 > count;
}

function describe(at: number, rows: Rows, modules: number): SectionAttributes {
  const { first, countAt, stride, addressAt, ownName } = rows;
  const attrs: ShapeMember[] = [["grp.name", 0, "char *"]];
  const shapes: StructShape[] = [];
  if (countAt === undefined) {
    const row: ShapeMember[] = [
      ["attr.name", 0, "char *"],
      ["private", addressAt, "void *"],
    ];
    shapes.push({ name: "struct bin_attribute", size: stride, members: row });
    attrs.push(["attrs", first, "struct bin_attribute[0]"]);
  } else {
    const row: ShapeMember[] = [
      [ownName ? "mattr.attr.name" : "battr.attr.name", 0, "char *"],
      ["address", addressAt, "u64"],
    ];
    if (ownName) row.push(["name", stride - 16, "char *"]);
    shapes.push({ name: "struct module_sect_attr", size: stride, members: row });
    attrs.push(["nsections", countAt, "u32"], ["attrs", first, "struct module_sect_attr[0]"]);
  }
  shapes.push({ name: "struct module_sect_attrs", size: first, members: attrs });
  return {
    at,
    shapes,
    evidence: [
      `module.sect_attrs at +${at}: ${modules} groups named "sections", rows of ${stride} bytes from +${first}`,
    ],
  };
}
