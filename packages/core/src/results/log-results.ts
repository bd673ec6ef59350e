// The result of `log`: the kernel's messages.
import type { DumpFacts, KernelFacts } from "./results.ts";

export interface LogLine {
  /** number of the message since boot; null where the kernel counts none */
  readonly sequence: number | null;
  /** seconds since boot, "1.234567890"; null without time stamps */
  readonly time: string | null;
  /** 0 emergency … 7 debug; null when the message has lost its mark */
  readonly level: number | null;
  /** 0 kernel, 1 user … */
  readonly facility: number | null;
  /** "T1" a task by its PID, "C0" a CPU outside of tasks; null where the kernel does not tell */
  readonly caller: string | null;
  /** may hold several lines; "…" stands for bytes that the dump does not have */
  readonly text: string;
  /** it goes on in the line of the message before (kernels up to 4.9) */
  readonly continues: boolean;
  readonly subsystem?: string;
  readonly device?: string;
  readonly comm?: string;
}

/** Result of `log`. */
export interface LogResult {
  readonly schema: "palimpsest/log/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly buffer: {
    /** "printk_ringbuffer" since 5.10, "printk_log" 3.5 to 5.9, "characters" before */
    readonly kind: "printk_ringbuffer" | "printk_log" | "characters";
    readonly address: string;
    readonly bytes: number;
  };
  /** oldest first */
  readonly messages: readonly LogLine[];
  /** messages that --last and --level left out */
  readonly leftOut: number;
  /** false when a part that the kernel still had could not be read */
  readonly complete: boolean;
  /** what could not be read, and facts about the input */
  readonly notes: readonly string[];
}
