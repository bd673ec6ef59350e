// A task's state as `ps` shows it. The kernel's own table of names tells which bit means what, since the bits were numbered
// anew in 3.14 and 4.14 (fs/proc/array.c, task_state_array).

import { addressAdd } from "../bytes/brand.ts";
import { kept } from "../kernel/kept.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { getU64 } from "../kernel/layouts/little-endian.ts";

/** In the order of the bits: none, 1, 2, 4 … (since 4.14). */
const LETTERS = ["R", "S", "D", "T", "t", "X", "Z", "P", "I"];
const MAX_LETTERS = 16;
/** TASK_NOLOAD: with TASK_UNINTERRUPTIBLE it is an idle kernel thread (80ed87c8a9ca, 4.2). */
const NOLOAD = 0x400;
const UNINTERRUPTIBLE = 2;
/** Bits above the ones that are reported: TASK_WAKEKILL, TASK_NEW … */
const REPORTED = 0x7f;
/** TASK_RTLOCK_WAIT (5f220be21418, 5.15): shown as a sleep that nothing interrupts. */
const RTLOCK = 0x1000;

function letters(kernel: Kernel): readonly string[] {
  return kept(kernel, read) ?? LETTERS;
}

function read(kernel: Kernel): readonly string[] | undefined {
  const table = kernel.find("task_state_array");
  const out: string[] = [];
  for (let i = 0; table !== undefined && i < MAX_LETTERS; i++) {
    const bytes = kernel.memory.tryRead(addressAdd(table, i * 8), 8);
    const at = bytes && getU64(bytes, 0);
    const text =
      at === undefined || at < 0xff00000000000000n
        ? undefined
        : kernel.memory.tryRead(addressAdd(table, at - table), 3);
    const letter = text && String.fromCharCode(...text);
    if (letter === undefined || !/^[A-Za-z] \($/.test(letter)) break;
    out.push(letter[0]);
  }
  return out[0] === "R" && out[1] === "S" && out[2] === "D" ? out : undefined;
}

/**
 * R, S, D, T, t, X, Z, P, I, as /proc/PID/stat has it; "?" when the state is not known.
 * @param state task_struct.__state (`state` before 5.14); `exitState` task_struct.exit_state
 */
export function stateLetter(kernel: Kernel, state: number | undefined, exitState: number): string {
  if (state === undefined) return "?";
  if ((state & NOLOAD) !== 0 && (state & UNINTERRUPTIBLE) !== 0 && exitState === 0) return "I";
  if ((state & RTLOCK) !== 0) return "D";
  const bits = (state | exitState) & REPORTED;
  return letters(kernel)[bits === 0 ? 0 : 32 - Math.clz32(bits)] ?? "?";
}
