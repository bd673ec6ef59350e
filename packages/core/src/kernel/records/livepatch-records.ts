// Livepatches as the kernel keeps them: which functions each replaces, and whether it is on (kernel/livepatch/core.c, since
// 4.0; lists of objects and functions since 5.1). ftrace does the redirecting, so this tells who and why.

import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import { kept } from "../kept.ts";
import type { Kernel } from "../kernel.ts";
import { walkList } from "../layouts/lists.ts";

export interface LivepatchFunction {
  /** "vmlinux" or the module that has the function */
  readonly object: string;
  readonly name: string;
  /** The function that is replaced; 0 while its object is not loaded. */
  readonly old: VirtualAddress;
  /** What runs in its place; 0 for a function that a replacing patch gives back. */
  readonly replacement: VirtualAddress;
  /** on the stack of its function's klp_ops */
  readonly patched: boolean;
  /** being applied or taken back, task by task */
  readonly transition: boolean;
}

export interface Livepatch {
  /** Address of the struct klp_patch. */
  readonly address: VirtualAddress;
  /** the module that brought it */
  readonly module: string;
  readonly enabled: boolean;
  readonly functions: readonly LivepatchFunction[];
}

const PATCH = "struct klp_patch";
const OBJECT = "struct klp_object";
const FUNC = "struct klp_func";
const NEEDED = [
  [PATCH, "list"],
  [PATCH, "obj_list"],
  [OBJECT, "node"],
  [OBJECT, "func_list"],
  [FUNC, "node"],
  [FUNC, "old_func"],
  [FUNC, "new_func"],
] as const;
const MAX_PATCHES = 4096;
const MAX_OBJECTS = 4096;
const MAX_FUNCTIONS = 65536;

/** All livepatches in the order in which they were enabled; empty for a kernel without. Read once a kernel. */
export function livepatches(kernel: Kernel, problems: string[]): readonly Livepatch[] {
  return kept(kernel, read, problems);
}

/** The replacement that runs now for the function at this address: that of the patch enabled last. */
export function livepatchOf(
  kernel: Kernel,
  old: VirtualAddress,
  problems: string[],
): { readonly patch: Livepatch; readonly func: LivepatchFunction } | undefined {
  for (const patch of [...livepatches(kernel, problems)].reverse()) {
    const func = patch.functions.find((each) => each.patched && each.old === old);
    if (func !== undefined) return { patch, func };
  }
  return undefined;
}

function read(kernel: Kernel, problems: string[]): Livepatch[] {
  const { structures: s, memory } = kernel;
  const head = kernel.find("klp_patches");
  if (head === undefined) return [];
  const missing = NEEDED.find(([type, path]) => !s.has(type, path));
  if (missing !== undefined) {
    const [type, path] = missing;
    const first = memory.tryRead(head, 8);
    const empty = first !== undefined && new DataView(first.buffer, first.byteOffset).getBigUint64(0, true) === head;
    if (!empty) problems.push(`livepatches are loaded, and the layout of ${type}.${path} is unknown`);
    return [];
  }
  const walk = walkList(memory, head, s.offset(PATCH, "list"), MAX_PATCHES);
  if (walk.problem) problems.push(`klp_patches: ${walk.problem}`);
  return walk.entries.flatMap((address) => {
    try {
      return [readPatch(kernel, address, problems)];
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`the livepatch at 0x${address.toString(16)}: ${error.message}`);
      return [];
    }
  });
}

function readPatch(kernel: Kernel, address: VirtualAddress, problems: string[]): Livepatch {
  const { structures: s, memory } = kernel;
  const owner = s.pointer(address, PATCH, "mod");
  const module = kernel.modules.find((each) => each.address === owner)?.name ?? `module at 0x${owner.toString(16)}`;
  const functions: LivepatchFunction[] = [];
  const objects = walkList(memory, member(kernel, address, PATCH, "obj_list"), s.offset(OBJECT, "node"), MAX_OBJECTS);
  if (objects.problem) problems.push(`livepatch ${module}: its objects: ${objects.problem}`);
  for (const object of objects.entries) {
    const nameAt = s.pointer(object, OBJECT, "name");
    const name = nameAt === 0n ? "vmlinux" : memory.cstring(nameAt, 64);
    const list = member(kernel, object, OBJECT, "func_list");
    const funcs = walkList(memory, list, s.offset(FUNC, "node"), MAX_FUNCTIONS);
    if (funcs.problem) problems.push(`livepatch ${module}: its functions in ${name}: ${funcs.problem}`);
    for (const func of funcs.entries) functions.push(readFunction(kernel, func, name));
  }
  return { address, module, enabled: s.number(address, PATCH, "enabled") !== 0, functions };
}

function readFunction(kernel: Kernel, func: VirtualAddress, object: string): LivepatchFunction {
  const { structures: s, memory } = kernel;
  const flag = (path: string): boolean => s.has(FUNC, path) && s.number(func, FUNC, path) !== 0;
  return {
    object,
    name: memory.cstring(s.pointer(func, FUNC, "old_name"), 512),
    old: s.pointer(func, FUNC, "old_func"),
    replacement: s.pointer(func, FUNC, "new_func"),
    patched: flag("patched"),
    transition: flag("transition"),
  };
}

function member(kernel: Kernel, base: VirtualAddress, type: string, path: string): VirtualAddress {
  return virtualAddress(base + BigInt(kernel.structures.offset(type, path)));
}
