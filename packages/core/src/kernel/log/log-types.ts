// What the kernel's log is for the rest, whichever kind of buffer it comes out of.
import type { VirtualAddress } from "../../bytes/brand.ts";

/** One message, as printk() was given it. */
export interface LogRecord {
  /** Counts all messages since boot; undefined where the buffer keeps no such number. */
  readonly sequence: bigint | undefined;
  /** local_clock() since boot; undefined in a log without time stamps (printk.time=0). */
  readonly nanoseconds: bigint | undefined;
  /** 0 emergency … 7 debug */
  readonly level: number | undefined;
  /** 0 kernel, 1 user … (syslog.h) */
  readonly facility: number | undefined;
  /** printk_caller_id(): a task's PID, or 0x80000000 + CPU outside of tasks. */
  readonly caller: number | undefined;
  /** Without its end of line; may hold several lines. */
  readonly text: string;
  /** It goes on in the line of the record before (up to 4.9). */
  readonly continues: boolean;
  /** SUBSYSTEM= and DEVICE=, where dev_printk() told them. */
  readonly subsystem?: string;
  readonly device?: string;
  /** name of the task, with CONFIG_PRINTK_EXECUTION_CTX (6.19) */
  readonly comm?: string;
}

export interface KernelLog {
  /** "printk_ringbuffer" since 5.10, "printk_log" 3.5 to 5.9, "characters" before */
  readonly kind: "printk_ringbuffer" | "printk_log" | "characters";
  /** of the text */
  readonly address: VirtualAddress;
  /** size of the text's buffer in bytes */
  readonly size: number;
  /** oldest first */
  readonly records: readonly LogRecord[];
  /** False when a part that the kernel still had could not be read; `problems` say which. */
  readonly complete: boolean;
  readonly problems: readonly string[];
}

/** LOG_BUF_LEN_MAX (kernel/printk/printk.c since 3.19; setup_log_buf() takes no more before). */
export const MAX_BUFFER = 2 ** 31;
