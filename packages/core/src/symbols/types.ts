// What the room symbols/ offers: names for addresses and layouts for C types, wherever they were found.
import type { VirtualAddress } from "../bytes/brand.ts";

export interface KernelSymbol {
  readonly name: string;
  readonly address: VirtualAddress;
  /** nm's letter: t T d D b B r R a A w W …; lower case is local. */
  readonly type: string;
  /** undefined for the core; the module's name otherwise. */
  readonly module?: string;
}

export interface NearestSymbol {
  readonly symbol: KernelSymbol;
  /** bytes from the symbol's address */
  readonly offset: number;
  /** bytes to the next symbol, when one follows */
  readonly size?: number;
}

/** A table of symbols, sorted by address. Names are decoded on demand: a kernel has 150,000 of them. */
export interface SymbolTable {
  readonly count: number;
  /** The first symbol of that name in address order; undefined when there is none. */
  lookup(name: string): KernelSymbol | undefined;
  /** All symbols of that name (static functions repeat). */
  lookupAll(name: string): KernelSymbol[];
  /** The symbol that covers the address: the last one at or below it. Of several at one address the global one wins. */
  nearest(address: VirtualAddress): NearestSymbol | undefined;
  /** All symbols at exactly this address. */
  at(address: VirtualAddress): KernelSymbol[];
  /** In address order. */
  all(): Iterable<KernelSymbol>;
}

export interface Member {
  /** bytes from the start of the outermost structure */
  readonly offset: number;
  /** bytes; for a bit field the storage it spans */
  readonly size: number;
  readonly bitOffset?: number;
  readonly bitSize?: number;
  /** Number of array elements, when the member is an array; `size` is that of the whole array. */
  readonly count?: number;
  /** "struct list_head", "u64", "void *" …, for output. */
  readonly typeName: string;
}

/** A variable of the kernel with its type. */
export interface Variable {
  readonly name: string;
  /** section that it lies in (".data..percpu") and bytes from that section's start */
  readonly section: string;
  readonly offset: number;
  /** bytes */
  readonly size: number;
  /** Number of array elements, when it is an array. */
  readonly count?: number;
  readonly typeName: string;
}

/** Layouts of C types: from BTF, from DWARF, or from a table of known shapes. */
export interface TypeTable {
  /** "BTF (/sys/kernel/btf/vmlinux's section in the dump)", "DWARF of vmlinux-3.0.1", "known shape 3.0 A". */
  readonly origin: string;
  /** sizeof("struct module"), also "union …", typedef names and base types. */
  sizeOf(type: string): number | undefined;
  /**
   * member("struct module", "core_layout.base"). Steps through anonymous members, named nested structures
   * and array indices ("mem[0].base").
   */
  member(type: string, path: string): Member | undefined;
  /**
   * Names and members of a structure, in order; anonymous members flattened. With a path: those of the structure that is
   * that member ("mem[0]"); offsets count from the start of `type` all the same.
   */
  members(type: string, path?: string): readonly (Member & { readonly name: string })[] | undefined;
  /** enumerator("system_states", "SYSTEM_RUNNING"). */
  enumerator(enumName: string, name: string): bigint | undefined;
  /** All enumerators of an enum, name → value. */
  enumerators(enumName: string): ReadonlyMap<string, bigint> | undefined;
  /** Variables with their types, where the source tells any: BTF has those of .data..percpu. */
  variables?(): readonly Variable[];
  /** `origin` of the source that knows this type; undefined when none does. */
  originOf(type: string): string | undefined;
  /** Types that contradict themselves, as far as they were asked for: in plain words. */
  problems?(): readonly string[];
  /** "struct module", "union …", "enum …", and bare typedefs and base types; a name may come twice. Slow: for looking up. */
  names(): Iterable<string>;
}
