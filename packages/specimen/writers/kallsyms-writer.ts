// Writes the kernel's own symbol table, by the rules of scripts/kallsyms.c: names compressed with a table of 256
// tokens, addresses either as offsets from a base (since 4.6) or absolute (before).
import { ByteWriter, latin1 } from "../bytes.ts";

export interface KallsymsEntry {
  readonly name: string;
  /** nm's letter */
  readonly letter: string;
  readonly address: bigint;
}

export interface Kallsyms {
  readonly bytes: Uint8Array;
  /** offset of each table in `bytes`: "kallsyms_names" … */
  readonly labels: ReadonlyMap<string, number>;
  /** offsets of the u64 fields that hold addresses of kernel text, for relocation */
  readonly pointers: readonly number[];
}

export type KallsymsLayout = "offsets-6.1" | "absolute-3.0";

/** Words that are worth a token; the codes that no symbol name uses are given to them. */
const WORDS = (
  "__x86_indirect_thunk_ __raw_callee_save_ native_ static_call __SCK__ __SCT__ spin_lock spin_unlock _text_ " +
  "__start_ __stop_ ftrace_ paravirt kallsyms_ clear_page _raw_ queued_ trace kprobe_ read_ write_ unlock lock " +
  "level __per_cpu_ cpu_ _key pgt int_ page register ted end"
).split(" ");

function tokens(entries: readonly KallsymsEntry[]): string[] {
  const table = new Array<string>(256).fill("");
  // Every kernel has names with these; their codes are never free.
  for (const c of "_0123456789abcdefghijklmnopqrstuvwxyz") table[c.charCodeAt(0)] = c;
  for (const e of entries) for (const c of e.letter + e.name) table[c.charCodeAt(0)] = c;
  let free = 0;
  for (const word of WORDS) {
    while (table[free] !== "") free++;
    table[free] = word;
  }
  return table;
}

function compress(text: string, table: readonly string[]): number[] {
  const codes = new Map(table.map((t, code) => [t, code]));
  const longest = [...codes.keys()].filter((t) => t.length > 1).sort((a, b) => b.length - a.length);
  const out: number[] = [];
  // The type letter comes first and is never swallowed by a token of another name's letters.
  for (let i = 0; i < text.length; ) {
    const token = i === 0 ? text[0] : (longest.find((t) => text.startsWith(t, i)) ?? text[i]);
    out.push(codes.get(token)!);
    i += token.length;
  }
  return out;
}

/**
 * @param entries in any order
 * @param base what offsets count from: the address of _text
 */
export function writeKallsyms(entries: readonly KallsymsEntry[], base: bigint, layout: KallsymsLayout): Kallsyms {
  const sorted = [...entries].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  const table = tokens(sorted);
  const w = new ByteWriter();
  const labels = new Map<string, number>();
  const pointers: number[] = [];
  const label = (name: string) => {
    w.align(8);
    labels.set(name, w.length);
  };
  const pointer = (value: bigint) => {
    pointers.push(w.length);
    w.u64(value);
  };
  if (layout === "absolute-3.0") {
    label("kallsyms_addresses");
    for (const e of sorted) {
      if (e.address >= base) pointer(e.address);
      else w.u64(e.address);
    }
  } else {
    label("kallsyms_offsets");
    // CONFIG_KALLSYMS_ABSOLUTE_PERCPU: what is not negative is an absolute value, the rest counts down from the base.
    for (const e of sorted) w.u32(e.address >= base ? Number(base - e.address) - 1 : Number(e.address));
    label("kallsyms_relative_base");
    pointer(base);
  }
  label("kallsyms_num_syms");
  if (layout === "absolute-3.0") w.u64(sorted.length);
  else w.u32(sorted.length);
  label("kallsyms_names");
  const names = w.length;
  const markers: number[] = [];
  sorted.forEach((e, i) => {
    if (i % 256 === 0) markers.push(w.length - names);
    const codes = compress(e.letter + e.name, table);
    if (codes.length > 0x7f) w.u8((codes.length & 0x7f) | 0x80).u8(codes.length >> 7);
    else w.u8(codes.length);
    w.bytes(codes);
  });
  label("kallsyms_markers");
  for (const m of markers) {
    if (layout === "absolute-3.0") w.u64(m);
    else w.u32(m);
  }
  if (layout === "offsets-6.1") {
    label("kallsyms_seqs_of_names");
    const byName = sorted
      .map((e, seq) => ({ name: e.name, seq }))
      .sort((a, b) => compareBytes(a.name, b.name) || a.seq - b.seq);
    for (const { seq } of byName)
      w.u8(seq >> 16)
        .u8(seq >> 8)
        .u8(seq);
  }
  label("kallsyms_token_table");
  const start = w.length;
  const index: number[] = [];
  for (const token of table) {
    index.push(w.length - start);
    w.bytes(latin1(token)).u8(0);
  }
  label("kallsyms_token_index");
  for (const at of index) w.u16(at);
  return { bytes: w.take(), labels, pointers };
}

function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
