// Whether an image is the build that the dump ran, and how far KASLR moved it.
import { readNotes } from "../bytes/elf.ts";
import { FormatError, PalimpsestError } from "../bytes/errors.ts";
import type { KernelImage } from "../image/types.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { KernelModule } from "../kernel/modules/modules.ts";

/** A word about two builds that differ, or undefined when image and dump belong together as far as one can tell. */
export function imageMismatch(kernel: Kernel, image: KernelImage): string | undefined {
  if (kernel.buildId !== undefined && image.buildId !== undefined) {
    return kernel.buildId === image.buildId
      ? undefined
      : `the dump's build-id is ${kernel.buildId} (${kernel.release}), the image's ${image.buildId} (${image.release ?? "release unknown"})`;
  }
  if (kernel.version !== "" && image.version !== undefined && kernel.version !== image.version.trim()) {
    return `the dump runs "${kernel.version}", the image is "${image.version.trim()}"`;
  }
  if (kernel.release !== "" && image.release !== undefined && kernel.release !== image.release) {
    return `the dump's release is ${kernel.release}, the image's ${image.release}`;
  }
  return undefined;
}

/**
 * Run-time minus link-time address of the core: _stext (or _text) of kallsyms against the section .text of the image.
 * @throws FormatError when the image has no .text
 */
export function kaslrOffsetOf(kernel: Kernel, image: KernelImage): number {
  const text = image.elf.section(".text");
  // .text starts at _text; _stext may lie a little behind it (3.0: 0x1c0), never a page.
  const start = kernel.find("_text") ?? kernel.find("_stext");
  if (text !== undefined && start !== undefined) return Number((start - text.address) & ~0xfffn);
  if (kernel.kaslrOffset !== undefined && kernel.kaslrOffset < 1n << 31n) return Number(kernel.kaslrOffset);
  if (text === undefined) throw new FormatError(image.path, "has no section .text");
  return Number((kernel.address("_stext") - text.address) & ~0xfffn);
}

/** A word about a KERNELOFFSET in VMCOREINFO that the image contradicts. */
export function offsetContradiction(kernel: Kernel, offset: number | undefined): string | undefined {
  if (offset === undefined || kernel.kaslrOffset === undefined || kernel.kaslrOffset === BigInt(offset))
    return undefined;
  return (
    `VMCOREINFO's KERNELOFFSET is 0x${kernel.kaslrOffset.toString(16)}, but by symbols and image the kernel was moved by ` +
    `0x${offset.toString(16)}, which is used`
  );
}

/** The build-id of a loaded module, from its note in memory. */
export function moduleBuildId(kernel: Kernel, module: KernelModule): string | undefined {
  const at = module.sections.get(".note.gnu.build-id");
  if (at === undefined) return undefined;
  const bytes = kernel.memory.tryRead(at, 36);
  if (bytes === undefined) return undefined;
  try {
    const note = readNotes(bytes, module.name).find((each) => each.name === "GNU" && each.type === 3);
    return note && Array.from(note.desc, (byte) => byte.toString(16).padStart(2, "0")).join("");
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return undefined;
  }
}
