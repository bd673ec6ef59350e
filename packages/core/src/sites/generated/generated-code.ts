// Executable memory that no image contains: the kernel made it while it ran. Each piece is listed with its owner, and
// compared with what its owner must have written where that is known.
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { type PatchState, readPatchState } from "../base/patch-state.ts";
import { bpfCode } from "./generated-bpf.ts";
import type { GeneratedCode } from "./generated-entry.ts";
import { ftraceTrampolines } from "./generated-ftrace.ts";
import { kprobeCode } from "./generated-kprobes.ts";
import { otherPages } from "./generated-pages.ts";

export type { Deviation, GeneratedCode, GeneratedKind } from "./generated-entry.ts";

/**
 * All generated code that the kernel's own lists name. Never throws on a damaged list: what could not be read is told in
 * `problems`.
 */
export function generatedCode(
  kernel: Kernel,
  problems: string[],
  state: PatchState = readPatchState(kernel, problems),
): GeneratedCode[] {
  const sources: readonly (() => GeneratedCode[])[] = [
    () => ftraceTrampolines(kernel, state, problems),
    () => kprobeCode(kernel, problems),
    () => bpfCode(kernel, problems),
    () => otherPages(kernel, problems),
  ];
  return sources.flatMap((source) => {
    try {
      return source();
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error;
      problems.push(`generated code: ${error.message}`);
      return [];
    }
  });
}
