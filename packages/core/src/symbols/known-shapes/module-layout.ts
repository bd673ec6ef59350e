// struct module without a description of it. Its members move with every configuration, but a module's memory proves
// them: the structure lies inside the block that its own base and size tell, its symbol table starts with a null
// symbol, its section attributes are named "sections".

import type { AddressReader } from "../reader.ts";
import { type Block, isInside, type ModuleSample, most } from "./module-sample.ts";
import { type Discovered, isKernelAddress, Peek, textAt, walkNodes } from "./peek.ts";
import { discoverSectionAttributes } from "./section-attributes.ts";
import type { ShapeMember, StructShape } from "./shape-types.ts";

/** {enum module_state state; struct list_head list; char name[64 - sizeof(long)]}: first members since 2.6. */
const LIST = 8;
const NAME = 24;
const NAME_LENGTH = 56;
/** Largest struct module that is searched; 3.0 has about 600 bytes, 6.x about 1,300. */
const WINDOW = 2048;
const MAX_MODULES = 1024;
/** Modules that take part in the proof; more add nothing. */
const WITNESSES = 24;
const MAX_CORE = 64n << 20n;
const PAGE_MASK = 4095n;
/** MOD_MEM_NUM_TYPES */
const MEMORY_TYPES = 7;

interface CoreLayout {
  readonly at: number;
  readonly members: readonly ShapeMember[];
  readonly shapes?: readonly StructShape[];
  readonly blocks: (m: ModuleSample) => readonly Block[];
  /** where the search for what follows goes on */
  readonly end: number;
  readonly what: string;
}

/**
 * @param modulesHead address of the list head `modules`
 * @param smp whether the kernel has per-CPU areas (it has the symbol __per_cpu_offset)
 * @returns undefined when no module is loaded or nothing fits
 */
export function discoverModuleLayout(reader: AddressReader, modulesHead: bigint, smp: boolean): Discovered | undefined {
  const peek = new Peek(reader);
  const walk = walkNodes(peek, modulesHead, MAX_MODULES);
  const samples: ModuleSample[] = [];
  for (const node of walk.nodes) {
    const address = node - BigInt(LIST);
    const view = peek.upTo(address, WINDOW);
    const name = view && view.byteLength > 256 ? textAt(view, NAME, NAME_LENGTH - 1) : undefined;
    if (view === undefined || name === undefined || !/^[\w-]+$/.test(name) || view.getUint32(0, true) > 3) continue;
    if (samples.length < WITNESSES) samples.push({ address, name, view, blocks: [] });
  }
  if (samples.length === 0) return undefined;
  keepWhole(samples);
  const evidence = [
    `modules: ${walk.nodes.length} on the list${walk.sound ? "" : " (which breaks)"}, names at +${NAME}: ${samples
      .slice(0, 3)
      .map((sample) => sample.name)
      .join(", ")}${samples.length > 3 ? ", …" : ""}`,
  ];
  const core = findCore(samples);
  if (core === undefined) return undefined;
  for (const sample of samples) sample.blocks = core.blocks(sample);
  evidence.push(
    `${core.what} at +${core.at}: the structures of ${samples.length} modules lie inside the block they tell of`,
  );
  const members: ShapeMember[] = [
    ["state", 0, "u32"],
    ["list", LIST, "struct list_head"],
    ["name", NAME, `char[${NAME_LENGTH}]`],
    ...core.members,
  ];
  const shapes: StructShape[] = [listHead, ...(core.shapes ?? [])];
  const symtab = findSymbols(peek, samples, core.end);
  if (symtab !== undefined) {
    members.push(...symtab.members);
    shapes.push(...symtab.shapes);
    evidence.push(symtab.what);
  }
  const attributes = discoverSectionAttributes(peek, samples, symtab?.end ?? core.end);
  if (attributes !== undefined) {
    members.push(["sect_attrs", attributes.at, "struct module_sect_attrs *"]);
    shapes.push(...attributes.shapes);
    evidence.push(...attributes.evidence);
    const percpu = smp ? findPercpu(peek, samples, attributes.at) : undefined;
    if (percpu !== undefined) {
      members.push(["percpu", percpu, "void *"], ["percpu_size", percpu + 8, "u32"]);
      evidence.push(`module.percpu at +${percpu}, behind the argument strings`);
    }
  }
  return { shapes: [...shapes, { name: "struct module", members }], evidence };
}

export const listHead: StructShape = {
  name: "struct list_head",
  size: 16,
  members: [
    ["next", 0, "struct list_head *"],
    ["prev", 8, "struct list_head *"],
  ],
};

/** Lets the modules go of whose structure a part is missing, if there are others. */
function keepWhole(samples: ModuleSample[]): void {
  const whole = samples.filter((sample) => sample.view.byteLength >= WINDOW / 2);
  if (whole.length > 0 && whole.length < samples.length) samples.splice(0, samples.length, ...whole);
}

const pointerAt = (m: ModuleSample, at: number): bigint => m.view.getBigUint64(at, true);
const wordAt = (m: ModuleSample, at: number): number => m.view.getUint32(at, true);

/** A page-aligned block of believable size that holds the structure itself. */
function holds(m: ModuleSample, base: bigint, size: number): boolean {
  return (
    (base & PAGE_MASK) === 0n &&
    size > 0 &&
    BigInt(size) <= MAX_CORE &&
    m.address >= base &&
    m.address < base + BigInt(size)
  );
}

function findCore(samples: readonly ModuleSample[]): CoreLayout | undefined {
  const end = Math.min(...samples.map((sample) => sample.view.byteLength));
  for (let at = NAME + NAME_LENGTH; at + 40 <= end; at += 8) {
    if (!most(samples, (m) => isKernelAddress(pointerAt(m, at)))) continue;
    if (most(samples, (m) => isFlat(m, at))) return flatLayout(at);
    if (most(samples, (m) => isModuleLayout(m, at))) {
      // struct mod_tree_node {struct module *mod; struct latch_tree_node node} of 56 bytes follows the four sizes
      const tree = at + 112 <= end && samples.some((m) => pointerAt(m, at + 24) === m.address);
      return layoutStructs(at, tree ? 80 : 24);
    }
    const memory = memoryLayout(samples, at, end);
    if (memory !== undefined) return memory;
  }
  return undefined;
}

/** Up to 4.4: void *module_init, *module_core; u32 init_size, core_size, init_text_size, core_text_size. */
function isFlat(m: ModuleSample, at: number): boolean {
  const init = pointerAt(m, at - 8);
  const [initSize, size, initText, text] = [8, 12, 16, 20].map((skip) => wordAt(m, at + skip));
  if (!holds(m, pointerAt(m, at), size) || text > size || initText > initSize) return false;
  return init === 0n ? initSize === 0 : (init & PAGE_MASK) === 0n && isKernelAddress(init) && initSize > 0;
}

function flatLayout(at: number): CoreLayout {
  return {
    at,
    what: "module.module_core",
    end: at + 24,
    blocks: (m) => [
      { base: pointerAt(m, at), size: wordAt(m, at + 12) },
      { base: pointerAt(m, at - 8), size: wordAt(m, at + 8) },
    ],
    members: [
      ["init", at - 16, "void *"],
      ["module_init", at - 8, "void *"],
      ["module_core", at, "void *"],
      ["init_size", at + 8, "u32"],
      ["core_size", at + 12, "u32"],
      ["init_text_size", at + 16, "u32"],
      ["core_text_size", at + 20, "u32"],
    ],
  };
}

/** 4.5 to 6.3: struct module_layout {void *base; u32 size, text_size, ro_size, …} core_layout, init_layout. */
function isModuleLayout(m: ModuleSample, at: number): boolean {
  const [size, text, ro] = [8, 12, 16].map((skip) => wordAt(m, at + skip));
  return holds(m, pointerAt(m, at), size) && text > 0 && text <= ro && ro <= size;
}

function layoutStructs(at: number, stride: number): CoreLayout {
  const one = (name: string, start: number): ShapeMember[] => [
    [`${name}.base`, start, "void *"],
    [`${name}.size`, start + 8, "u32"],
    [`${name}.text_size`, start + 12, "u32"],
    [`${name}.ro_size`, start + 16, "u32"],
  ];
  return {
    at,
    what: "module.core_layout",
    end: at + 2 * stride,
    blocks: (m) => [at, at + stride].map((start) => ({ base: pointerAt(m, start), size: wordAt(m, start + 8) })),
    members: [...one("core_layout", at), ...one("init_layout", at + stride)],
  };
}

/**
 * Since 6.4: struct module_memory {void *base; …; unsigned int size; struct mod_tree_node mtn} mem[7], of which the
 * second, MOD_DATA, holds the structure; mtn.mod tells how long an entry is.
 */
function memoryLayout(samples: readonly ModuleSample[], at: number, end: number): CoreLayout | undefined {
  for (const sizeAt of [8, 12, 16, 20]) {
    const nodeAt = Math.ceil((sizeAt + 4) / 8) * 8;
    const stride = nodeAt + 56;
    const blocks = (m: ModuleSample): Block[] =>
      Array.from({ length: MEMORY_TYPES }, (_, i) => ({
        base: pointerAt(m, at + i * stride),
        size: wordAt(m, at + i * stride + sizeAt),
      }));
    const fits = (m: ModuleSample): boolean => {
      const [text, data] = blocks(m);
      if (!holds(m, data.base, data.size) || text.size === 0 || (text.base & PAGE_MASK) !== 0n) return false;
      return [0, 1].every((i) => pointerAt(m, at + i * stride + nodeAt) === m.address);
    };
    if (at + MEMORY_TYPES * stride > end || !most(samples, fits)) continue;
    return {
      at,
      what: "module.mem",
      end: at + MEMORY_TYPES * stride,
      blocks,
      shapes: [
        {
          name: "struct module_memory",
          size: stride,
          members: [
            ["base", 0, "void *"],
            ["size", sizeAt, "u32"],
          ],
        },
      ],
      members: [["mem", at, `struct module_memory[${MEMORY_TYPES}]`]],
    };
  }
  return undefined;
}

interface Symbols {
  readonly members: readonly ShapeMember[];
  readonly shapes: readonly StructShape[];
  readonly end: number;
  readonly what: string;
}

function findSymbols(peek: Peek, samples: readonly ModuleSample[], from: number): Symbols | undefined {
  const end = Math.min(...samples.map((sample) => sample.view.byteLength));
  const live = samples.filter((sample) => wordAt(sample, 0) === 0);
  // While it is loading, a module has its whole symbol table in its init part.
  const loaded = live.length > 0 ? live : samples;
  for (let at = from; at + 40 <= end; at += 8) {
    // up to 4.4: Elf_Sym *symtab, *core_symtab; u32 num_symtab, core_num_syms; char *strtab, *core_strtab
    if (most(loaded, (m) => isSymbolTable(peek, m, at, at + 16, at + 24))) {
      return {
        end: at + 40,
        shapes: [],
        what: `module.symtab at +${at}: a null symbol first, names in the strings behind it`,
        members: [
          ["symtab", at, "void *"],
          ["num_symtab", at + 16, "u32"],
          ["strtab", at + 24, "char *"],
        ],
      };
    }
    // since 4.5: struct mod_kallsyms *kallsyms, which points to core_kallsyms right behind it once loaded, and to one
    // in the init part before
    const inner = at + 8;
    const points = (m: ModuleSample): boolean => {
      const table = pointerAt(m, at);
      if (live.length > 0)
        return table === m.address + BigInt(inner) && isSymbolTable(peek, m, inner, inner + 8, inner + 16);
      const view = isInside(m, table) && table !== m.address ? peek.view(table, 24) : undefined;
      return view !== undefined && isSymbolTable(peek, { ...m, view }, 0, 8, 16) && isInside(m, pointerAt(m, inner));
    };
    if (most(loaded, points)) {
      const letters = most(loaded, (m) => isLetterTable(peek, pointerAt(m, inner + 24), wordAt(m, inner + 8)));
      const members: ShapeMember[] = [
        ["symtab", 0, "void *"],
        ["num_symtab", 8, "u32"],
        ["strtab", 16, "char *"],
      ];
      if (letters) members.push(["typetab", 24, "char *"]);
      return {
        end: inner + (letters ? 32 : 24),
        shapes: [{ name: "struct mod_kallsyms", size: letters ? 32 : 24, members }],
        what: `module.kallsyms at +${at} points to the structure behind it, a symbol table`,
        members: [["kallsyms", at, "struct mod_kallsyms *"]],
      };
    }
  }
  return undefined;
}

function isSymbolTable(peek: Peek, m: ModuleSample, symtabAt: number, countAt: number, stringsAt: number): boolean {
  const symbols = pointerAt(m, symtabAt);
  const strings = pointerAt(m, stringsAt);
  const count = wordAt(m, countAt);
  if (!isInside(m, symbols) || !isInside(m, strings) || count < 1 || count > 1 << 20) return false;
  const table = peek.view(symbols, Math.min(count, 4) * 24);
  if (table === undefined || peek.view(strings, 1)?.getUint8(0) !== 0) return false;
  // the null symbol: without name, value and size; before 5.2 the loader has put nm's letter into its st_info
  if (table.getUint32(0, true) !== 0 || table.getBigUint64(8, true) !== 0n || table.getBigUint64(16, true) !== 0n) {
    return false;
  }
  for (let at = 24; at < table.byteLength; at += 24) {
    const name = table.getUint32(at, true);
    // sections' symbols have none
    if (name !== 0 && (BigInt(name) > MAX_CORE || peek.text(strings + BigInt(name), 512) === undefined)) return false;
  }
  return true;
}

function isLetterTable(peek: Peek, address: bigint, count: number): boolean {
  const letters = peek.view(address, Math.min(count, 16));
  if (letters === undefined) return false;
  for (let i = 1; i < letters.byteLength; i++) {
    if (!/[A-Za-z?-]/.test(String.fromCharCode(letters.getUint8(i)))) return false;
  }
  return true;
}

/** sect_attrs is followed by notes_attrs, char *args, void *percpu, u32 percpu_size. */
function findPercpu(peek: Peek, samples: readonly ModuleSample[], sectAttrs: number): number | undefined {
  const at = sectAttrs + 24;
  const fits = most(samples, (m) => {
    if (at + 12 > m.view.byteLength) return false;
    const args = peek.view(pointerAt(m, at - 8), 1);
    const percpu = pointerAt(m, at);
    const size = wordAt(m, at + 8);
    // zero-based on x86-64 before 6.15, inside the first chunk's reserved part
    return args !== undefined && (percpu === 0n) === (size === 0) && percpu < 1n << 24n && size < 1 << 20;
  });
  return fits ? at : undefined;
}
