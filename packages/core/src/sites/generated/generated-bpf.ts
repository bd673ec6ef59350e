// BPF images: programs after the JIT, trampolines, dispatchers. Their bytes follow from programs that the dump no longer
// has in full, so what is checked is where they lead: each branch out of an image must go to something callable.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { type BpfImage, bpfImages } from "../../kernel/records/bpf-records.ts";
import { getI32 } from "../../x86/encode.ts";
import { shapes } from "../../x86/instructions.ts";
import { nearestName } from "../base/context.ts";
import type { Comparison, GeneratedCode, GeneratedKind } from "./generated-entry.ts";

/** Bytes of BPF code that are decoded at most; the rest is listed unchecked. */
const MAX_DECODED = 1 << 20;
/** A branch may pass over ENDBR and the patchable entry: X86_TAIL_CALL_OFFSET, or the traced function behind its call. */
const ENTRY = 32;

export function bpfCode(kernel: Kernel, problems: string[]): GeneratedCode[] {
  const images = bpfImages(kernel, problems);
  let budget = MAX_DECODED;
  return images.map((image) => {
    const kind: GeneratedKind = image.kind === "other" ? "bpf-other" : `bpf-${image.kind}`;
    const listed = { kind, owner: image.name, address: image.start, size: image.size };
    if (image.size > budget) return { ...listed, checked: false };
    budget -= image.size;
    return { ...listed, ...check(kernel, image, images) };
  });
}

function check(kernel: Kernel, image: BpfImage, images: readonly BpfImage[]): Comparison {
  const start = toKernelOffset(image.start);
  const bytes = kernel.memory.tryRead(image.start, image.size);
  if (start === undefined || bytes === undefined) return { checked: false };
  for (const shape of shapes(bytes)) {
    if (shape.branchSize !== 4) continue;
    const end = shape.at + shape.length;
    if (end > bytes.length) break;
    const target = start + end + getI32(bytes, end - 4);
    if (target >= start && target < start + image.size) continue;
    if (!isEntry(kernel, target, images)) {
      const where = target < 0 || target >= 2 ** 31 ? "outside the kernel" : nearestName(kernel, target);
      return {
        checked: true,
        partly: true,
        problem: `+0x${shape.at.toString(16)} leads to ${where}, which is no function's start`,
        differs: [{ offset: shape.at, found: bytes.slice(shape.at, end) }],
      };
    }
  }
  return { checked: true, partly: true };
}

function isEntry(kernel: Kernel, target: KernelOffset, images: readonly BpfImage[]): boolean {
  if (target < 0 || target >= 2 ** 31) return false;
  const address = fromKernelOffset(target);
  const near = kernel.allSymbols.nearest(address);
  if (near !== undefined && near.offset < ENTRY && /^[tTwW]$/.test(near.symbol.type)) return true;
  return images.some((image) => address >= image.start && address < image.start + BigInt(ENTRY));
}
