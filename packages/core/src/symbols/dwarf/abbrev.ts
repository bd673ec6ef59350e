// Abbreviation tables (.debug_abbrev): what attributes a DIE of a given code has. For each code it is worked out
// once where its name and its sibling lie, so that the scan over all DIEs of a kernel rarely looks at attributes.
import { FormatError } from "../../bytes/errors.ts";
import { DW_AT, DW_FORM, type Encoding, fixedSize, Reader } from "./forms.ts";

export interface Abbrev {
  readonly tag: number;
  readonly hasChildren: boolean;
  /** attribute, form, implicit constant; attribute, form, … */
  readonly attributes: readonly number[];
  /** Bytes of all attributes, or -1 when they vary. */
  readonly size: number;
  /** Where DW_AT_name / DW_AT_sibling lie behind the code, -1 when absent or behind a value of varying size. */
  readonly nameAt: number;
  readonly nameForm: number;
  readonly siblingAt: number;
  readonly siblingForm: number;
  readonly isDeclaration: boolean;
}

/** By code; holes are codes that are not used. */
export type AbbrevTable = readonly (Abbrev | undefined)[];

/** Compilers number from 1 on, a few hundred a unit. */
const MAX_CODE = 1 << 20;

/**
 * @param where "vmlinux: .debug_abbrev"
 * @throws FormatError, TruncatedError
 */
export function readAbbrevs(bytes: Uint8Array, offset: number, unit: Encoding, where: string): AbbrevTable {
  if (offset >= bytes.length) {
    throw new FormatError(`${where}+0x${offset.toString(16)}`, `abbreviations beyond the ${bytes.length} bytes`);
  }
  const r = new Reader(bytes, where);
  r.at = offset;
  const table: (Abbrev | undefined)[] = [];
  for (;;) {
    const start = r.at;
    const code = r.uleb();
    if (code === 0) return table;
    if (code > MAX_CODE) throw new FormatError(r.place(start), `abbreviation code ${code}`);
    const tag = r.uleb();
    const hasChildren = r.unsigned(1) !== 0;
    const attributes: number[] = [];
    let size = 0;
    const name = { at: -1, form: 0 };
    const sibling = { at: -1, form: 0 };
    let isDeclaration = false;
    for (;;) {
      const attribute = r.uleb();
      const form = r.uleb();
      const implicit = form === DW_FORM.implicitConst ? r.sleb() : 0;
      if (attribute === 0 && form === 0) break;
      attributes.push(attribute, form, implicit);
      if (attribute === DW_AT.name) Object.assign(name, { at: size, form });
      else if (attribute === DW_AT.sibling) Object.assign(sibling, { at: size, form });
      else if (attribute === DW_AT.declaration) isDeclaration = true;
      const length = fixedSize(form, unit);
      size = size < 0 || length < 0 ? -1 : size + length;
    }
    table[code] = {
      tag,
      hasChildren,
      attributes,
      size,
      nameAt: name.at,
      nameForm: name.form,
      siblingAt: sibling.at,
      siblingForm: sibling.form,
      isDeclaration,
    };
  }
}
