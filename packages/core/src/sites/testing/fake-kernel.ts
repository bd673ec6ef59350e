// A kernel and an object for tests of one mechanism: symbols, layouts, feature bits and sections as a test names them.
import type { BuiltObject, BuiltSection } from "../../built/object.ts";
import { fromKernelOffset, type KernelOffset, type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { MissingError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { Structures } from "../../kernel/layouts/structures.ts";
import type { KernelModule } from "../../kernel/modules/modules.ts";
import { arraySymbolTable } from "../../symbols/array-symbols.ts";
import type { KernelSymbol, Member, TypeTable } from "../../symbols/types.ts";
import type { SiteContext } from "../base/context.ts";
import { PatchSpace, patchRegion } from "../base/patch-space.ts";
import { type PatchState, readPatchState } from "../base/patch-state.ts";
import { FakeMemory } from "./fake-memory.ts";

/** Type → its size and members: path → [offset, size]. */
export type FakeTypes = Readonly<Record<string, { size: number; members?: Record<string, readonly [number, number]> }>>;

export interface FakeKernelOptions {
  /** Core symbol → KernelOffset; "module:name" for a module's. */
  readonly symbols?: Readonly<Record<string, KernelOffset>>;
  readonly types?: FakeTypes;
  /** Set feature bits: word * 32 + bit. */
  readonly features?: readonly number[];
  readonly memory?: FakeMemory;
  readonly modules?: readonly KernelModule[];
  /** false: a boot that is not over. Default true. */
  readonly initFreed?: boolean;
}

export interface FakeKernel extends Kernel {
  readonly memory: FakeMemory;
}

const NO_DUMP: Kernel["dump"] = {
  ...{ path: "fake", format: "elf", size: 0, cpus: [], notes: [], segments: [], incomplete: false, problems: [] },
  physical: { ranges: [], page: () => undefined, read: (_address, into, absent) => absent(0, into.length) },
};

export function fakeKernel(options: FakeKernelOptions = {}): FakeKernel {
  const memory = options.memory ?? new FakeMemory();
  const types = fakeTypes(options.types ?? {});
  const all: KernelSymbol[] = Object.entries(options.symbols ?? {}).map(([name, offset]) => {
    const [module, own] = name.includes(":") ? name.split(":") : [undefined, name];
    return { name: own ?? name, address: fromKernelOffset(offset), type: "T", module };
  });
  const symbols = arraySymbolTable(all.filter((symbol) => symbol.module === undefined));
  const find = (name: string): VirtualAddress | undefined => symbols.lookup(name)?.address;
  const bits = new Set(options.features ?? []);
  return {
    dump: NO_DUMP,
    memory,
    vmcoreinfo: undefined,
    addressSpace: "fake",
    release: "6.1.0-fake",
    version: "",
    buildId: undefined,
    symbols,
    types,
    structures: new Structures(memory, types),
    modules: options.modules ?? [],
    allSymbols: arraySymbolTable(all),
    features: {
      words: new Uint32Array(24),
      has: (bit) => bits.has(bit),
      vendor: 0,
      family: 6,
      model: 85,
      vendorId: "GenuineIntel",
      modelId: "fake",
    },
    kaslrOffset: 0n,
    initFreed: options.initFreed ?? true,
    problems: [],
    address: (name) => {
      const found = find(name);
      if (found === undefined) throw new MissingError(`the symbol ${name}`);
      return found;
    },
    find,
  };
}

function fakeTypes(given: FakeTypes): TypeTable {
  const member = (type: string, path: string): Member | undefined => {
    const found = given[type]?.members?.[path];
    return found && { offset: found[0], size: found[1], typeName: found[1] === 8 ? "void *" : "" };
  };
  return {
    origin: "test",
    sizeOf: (type) => given[type]?.size,
    member,
    members: (type) =>
      Object.entries(given[type]?.members ?? {}).map(([name, [offset, size]]) => ({
        name,
        offset,
        size,
        typeName: "",
      })),
    enumerator: () => undefined,
    enumerators: () => undefined,
    originOf: () => undefined,
    names: () => [],
  };
}

export interface FakeSection {
  readonly name: string;
  readonly start: KernelOffset;
  readonly bytes: Uint8Array;
  /** Sections that are code go into the patch space. */
  readonly text?: boolean;
}

export function fakeObject(sections: readonly FakeSection[], name = "vmlinux"): BuiltObject {
  const built: BuiltSection[] = sections.map((section) => ({
    name: section.name,
    start: section.start,
    bytes: section.bytes,
    executable: section.text === true,
    kept: true,
  }));
  return {
    name,
    path: `/fake/${name}`,
    sectionNames: () => built.map((section) => section.name),
    section: (wanted) => built.find((section) => section.name === wanted),
    between: () => undefined,
    text: built.filter((section) => section.executable),
    freed: [],
    at: (offset) => built.find((section) => offset >= section.start && offset < section.start + section.bytes.length),
  };
}

export interface FakeContext extends SiteContext {
  readonly kernel: FakeKernel;
  /** The intended bytes at a place, as hex text. */
  intended(at: KernelOffset, length: number): string;
}

/** All that a mechanism is given; the state is read from the kernel unless a test overrides parts of it. */
export function fakeContext(kernel: FakeKernel, object: BuiltObject, state: Partial<PatchState> = {}): FakeContext {
  const problems: string[] = [];
  const space = new PatchSpace(object.text.map((part) => patchRegion(part.name, part.start, part.bytes, true)));
  return {
    kernel,
    object,
    space,
    state: { ...readPatchState(kernel, problems), ...state },
    problems,
    unknown: [],
    intended: (at, length) => toHex(space.read(at, length) ?? new Uint8Array()),
  };
}

/** "e8 00 00 00 00" → bytes. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(
    text
      .split(/\s+/)
      .filter((part) => part !== "")
      .map((part) => Number.parseInt(part, 16)),
  );
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** A table of s32, each relative to its own position, as .return_sites and its kin. */
export function relativeTable(start: KernelOffset, places: readonly KernelOffset[]): Uint8Array {
  const out = new Uint8Array(places.length * 4);
  const view = new DataView(out.buffer);
  places.forEach((place, i) => {
    view.setInt32(i * 4, place - (start + i * 4), true);
  });
  return out;
}

/** The address of a KernelOffset, shorter. */
export const at = (offset: KernelOffset): VirtualAddress => virtualAddress(fromKernelOffset(offset));
