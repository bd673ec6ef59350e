// Members' names for slots: "pv_ops.lock.queued_spin_unlock" instead of "pv_ops+0x278". From the BTF in the image; for
// older kernels, whose pv_*_ops were laid out along one list for a decade, from the functions that they are built with.

import { fromKernelOffset, type KernelOffset, toKernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import { AddressError, PalimpsestError } from "../bytes/errors.ts";
import { openBtf } from "../symbols/btf.ts";
import { discoverParavirt } from "../symbols/known-shapes/paravirt-shapes.ts";
import { ShapeTypes } from "../symbols/known-shapes/shape-types.ts";
import type { AddressReader } from "../symbols/reader.ts";
import type { TypeTable } from "../symbols/types.ts";
import type { LinkImage } from "./link-image.ts";

/** Variables that consist of slots, and their types: arch/x86/include/asm/paravirt_types.h, smp.h, x86_init.h. */
const VARIABLES: readonly (readonly [string, string])[] = [
  ["pv_ops", "struct paravirt_patch_template"],
  ["pv_ops_lock", "struct pv_lock_ops"],
  ...["lock", "irq", "cpu", "mmu", "apic", "time", "init"].map(
    (group) => [`pv_${group}_ops`, `struct pv_${group}_ops`] as const,
  ),
  ["smp_ops", "struct smp_ops"],
  ["x86_init", "struct x86_init_ops"],
  ["x86_platform", "struct x86_platform_ops"],
];
const DEPTH_MAX = 4;

export class SlotNames {
  private readonly types: TypeTable | undefined;
  private readonly variables: readonly { name: string; type: string; start: KernelOffset; end: KernelOffset }[];

  constructor(private readonly image: LinkImage) {
    const types = typesOf(image);
    this.types = types;
    this.variables = VARIABLES.flatMap(([name, type]) => {
      const start = image.find(name);
      const size = types?.sizeOf(type);
      return start === undefined || size === undefined ? [] : [{ name, type, start, end: start + size }];
    });
  }

  /** "pv_lock_ops.spin_lock", or "smp_ops+0x8" where nothing tells the members. */
  of(slot: KernelOffset): string {
    const variable = this.variables.find(({ start, end }) => slot >= start && slot < end);
    const path = variable && this.member(variable.type, slot - variable.start, 0);
    return variable === undefined || path === undefined ? this.image.name(slot) : `${variable.name}.${path}`;
  }

  private member(type: string, offset: number, depth: number): string | undefined {
    if (depth > DEPTH_MAX) return undefined;
    for (const member of this.types?.members(type) ?? []) {
      if (offset < member.offset || offset >= member.offset + member.size) continue;
      const inner = /^struct \w+$/.test(member.typeName)
        ? this.member(member.typeName, offset - member.offset, depth + 1)
        : undefined;
      // struct paravirt_callee_save has the one member `func`.
      if (inner === "func") return member.name;
      if (inner !== undefined) return `${member.name}.${inner}`;
      return offset === member.offset ? member.name : undefined;
    }
    return undefined;
  }
}

/** Names are a comfort: a broken description of types leaves the numbers. */
function typesOf(image: LinkImage): TypeTable | undefined {
  const { elf } = image.image;
  try {
    const btf = elf.section(".BTF");
    if (btf !== undefined && btf.size > 0) return openBtf(elf.bytes(btf), "BTF of the image");
    const found = discoverParavirt({ reader: reader(image), symbols: image.symbols });
    return found && new ShapeTypes("known shapes", found.shapes);
  } catch (error) {
    if (error instanceof PalimpsestError) return undefined;
    throw error;
  }
}

function reader(image: LinkImage): AddressReader {
  return {
    read(address: VirtualAddress, length: number): Uint8Array {
      const offset = toKernelOffset(address);
      const section = offset === undefined ? undefined : image.section(offset);
      const at = (offset ?? 0) - (section?.start ?? 0);
      if (section === undefined || at + length > section.bytes.length) {
        throw new AddressError(fromKernelOffset(offset ?? 0), "page", "not in the image");
      }
      return section.bytes.subarray(at, at + length);
    },
  };
}
