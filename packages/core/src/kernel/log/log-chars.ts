// The log as one ring of characters (kernel/printk.c, up to 3.4): "<6>[    0.000000] Linux version …\n". log_end counts all
// characters ever written; logged_chars of them are still there.
import { addressAdd } from "../../bytes/brand.ts";
import { FormatError } from "../../bytes/errors.ts";
import type { Kernel } from "../kernel.ts";
import { pointerIn } from "./log-layout.ts";
import { Losses, readLogText } from "./log-text.ts";
import { type KernelLog, type LogRecord, MAX_BUFFER } from "./log-types.ts";

/** Characters that are looked at: real buffers are 64 KiB to 16 MiB. */
const MOST = 64 << 20;

/** @throws MissingError, AddressError, FormatError */
export function readCharLog(kernel: Kernel): KernelLog {
  const { memory } = kernel;
  const buffer = pointerIn(kernel, "log_buf");
  const size = memory.u32(kernel.address("log_buf_len"));
  // log_end & (log_buf_len - 1) is how the kernel finds a place in it.
  if (size < 64 || size > MAX_BUFFER || (size & (size - 1)) !== 0)
    throw new FormatError("log_buf_len", `${size}, not a power of two that a log can have`);
  const end = memory.u32(kernel.address("log_end"));
  const kept = kernel.find("logged_chars");
  const count = Math.min(kept === undefined ? size : memory.u32(kept), size, end === 0 ? size : 2 ** 32, MOST);
  const losses = new Losses();
  const from = ((end - count) >>> 0) & (size - 1);
  const first = Math.min(count, size - from);
  const parts = [readLogText(memory, addressAdd(buffer, from), first), readLogText(memory, buffer, count - first)];
  const absent = parts[0].absent + parts[1].absent;
  if (absent > 0) losses.add("bytes of text that are not in the dump", absent);
  const records = linesOf(parts[0].text + parts[1].text);
  return { kind: "characters", address: buffer, size, records, complete: !losses.any, problems: losses.lines };
}

/** A line that was cut by the ring's turning over has no mark and is kept as it is. */
function linesOf(text: string): LogRecord[] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line) => {
    // printk_time puts the stamp behind the level (vprintk()).
    const [, mark, seconds, micros, rest] = /^(?:<(\d{1,4})>)?(?:\[ *(\d{1,10})\.(\d{6})\] ?)?(.*)$/s.exec(line) ?? [];
    const number = mark === undefined ? undefined : Number(mark);
    return {
      sequence: undefined,
      nanoseconds: seconds === undefined ? undefined : BigInt(seconds) * 1_000_000_000n + BigInt(micros) * 1000n,
      level: number === undefined ? undefined : number & 7,
      facility: number === undefined ? undefined : number >> 3,
      caller: undefined,
      text: rest ?? line,
      continues: false,
    };
  });
}
