// What can still be checked without an image: the tables that the kernel keeps after boot (jump labels, static calls, ftrace
// records) and calls of lock functions tell their sites and what these must hold. The text found stands in for the built one, so that only the
// bytes of those sites can differ; all others are not checked, and the account says so.
import { type KernelOffset, toKernelOffset, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { type KernelModule, MAX_REGION } from "../kernel/modules/modules.ts";
import type { BuiltObject, BuiltSection } from "./object.ts";
import { recoverLockCalls } from "./recovered-calls.ts";

const MAX_TABLE = 16 << 20;

class MemoryObject implements BuiltObject {
  readonly freed = [];
  readonly partial = true;
  private readonly sections = new Map<string, BuiltSection>();

  constructor(
    readonly name: string,
    readonly path: string,
    readonly text: readonly BuiltSection[],
    tables: readonly BuiltSection[],
    private readonly range: (start: string, stop: string) => BuiltSection | undefined,
    calls?: BuiltSection,
  ) {
    for (const table of [...tables, ...text]) this.sections.set(table.name, table);
    if (calls !== undefined) this.sections.set(".parainstructions", calls);
  }

  sectionNames(): readonly string[] {
    return [...this.sections.keys()];
  }
  section(name: string): BuiltSection | undefined {
    return this.sections.get(name);
  }
  between(start: string, stop: string): BuiltSection | undefined {
    return this.range(start, stop);
  }
  at(offset: KernelOffset): BuiltSection | undefined {
    return [...this.sections.values()].find((each) => offset >= each.start && offset < each.start + each.bytes.length);
  }
}

function readSection(
  kernel: Kernel,
  name: string,
  address: bigint,
  length: number,
  executable: boolean,
): BuiltSection | undefined {
  const start = toKernelOffset(address);
  if (start === undefined || length <= 0 || length > MAX_REGION) return undefined;
  const bytes = new Uint8Array(length);
  kernel.memory.readPresent(virtualAddress(address), bytes, () => {});
  return { name, start, bytes, executable, kept: true };
}

/** The core out of the dump alone: _stext … _etext, and tables outside the freed init memory. */
export function coreFromMemory(kernel: Kernel): BuiltObject | undefined {
  const start = kernel.find("_stext");
  const end = kernel.find("_etext");
  if (start === undefined || end === undefined || end <= start) return undefined;
  const text = readSection(kernel, ".text", start, Number(end - start), true);
  if (text === undefined) return undefined;
  const initStart = kernel.find("__init_begin");
  const initEnd = kernel.find("__init_end");
  const calls = recoverLockCalls(kernel, text);
  const range = (first: string, last: string): BuiltSection | undefined => {
    const from = kernel.find(first);
    const to = kernel.find(last);
    if (from === undefined || to === undefined || to <= from || to - from > BigInt(MAX_TABLE)) return undefined;
    const freed =
      kernel.initFreed && initStart !== undefined && initEnd !== undefined && from >= initStart && from < initEnd;
    return freed ? undefined : readSection(kernel, first, from, Number(to - from), false);
  };
  return new MemoryObject("vmlinux", kernel.dump.path, [calls?.text ?? text], [], range, calls?.table);
}

/** A module out of the dump alone, with the tables that struct module points to. */
export function moduleFromMemory(kernel: Kernel, module: KernelModule): BuiltObject | undefined {
  const text = readSection(kernel, "(text)", module.text.base, module.text.size, true);
  if (text === undefined) return undefined;
  const { structures: s } = kernel;
  const type = "struct module";
  const table = (name: string, pointer: string, count: string, entry: number): BuiltSection[] => {
    if (!s.has(type, pointer) || !s.has(type, count)) return [];
    const size = s.number(module.address, type, count) * entry;
    if (size > MAX_TABLE) return [];
    const section = readSection(kernel, name, s.pointer(module.address, type, pointer), size, false);
    return section === undefined ? [] : [section];
  };
  const calls = recoverLockCalls(kernel, text);
  const jumpEntry = kernel.types.sizeOf("struct jump_entry") ?? 16;
  return new MemoryObject(
    module.name,
    kernel.dump.path,
    [calls?.text ?? text],
    [
      ...table("__jump_table", "jump_entries", "num_jump_entries", jumpEntry),
      ...table(".static_call_sites", "static_call_sites", "num_static_call_sites", 8),
    ],
    () => undefined,
    calls?.table,
  );
}
