// struct printk_log in one buffer (kernel/printk/printk.c, 3.5 to 5.9; `struct log` up to 3.10): {u64 ts_nsec; u16 len,
// text_len, dict_len; u8 facility; u8 flags:5, level:3; u32 caller_id with CONFIG_PRINTK_CALLER} and then text and dictionary.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import { FormatError } from "../../bytes/errors.ts";
import type { Kernel } from "../kernel.ts";
import { getU16, getU32, getU64 } from "../layouts/little-endian.ts";
import { logOffset, logSize, pointerIn } from "./log-layout.ts";
import { Losses, MAX_RECORDS, MAX_TEXT, readLogText } from "./log-text.ts";
import { type KernelLog, type LogRecord, MAX_BUFFER } from "./log-types.ts";

const TYPES = ["printk_log", "log"];
/** enum log_flags */
const LOG_NEWLINE = 2;
const LOG_PREFIX = 4;
const LOG_CONT = 8;
/** Sizes of the structure: alone, with caller_id packed behind, and with caller_id aligned. */
const SIZES: readonly number[] = [16, 20, 24];
const FIXED = 16;

interface Header {
  readonly at: number;
  readonly length: number;
  readonly textLength: number;
  readonly dictionaryLength: number;
  readonly bytes: Uint8Array;
}

interface Layout {
  readonly time: number;
  readonly length: number;
  readonly textLength: number;
  readonly dictionaryLength: number;
  readonly caller: number | undefined;
  readonly size: number | undefined;
}

function layoutOf(kernel: Kernel): Layout {
  const offset = (member: string): number | undefined => {
    for (const type of TYPES) {
      const found = logOffset(kernel, type, member);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const size = TYPES.map((type) => logSize(kernel, type)).find((each) => each !== undefined);
  return {
    time: offset("ts_nsec") ?? 0,
    length: offset("len") ?? 8,
    textLength: offset("text_len") ?? 10,
    dictionaryLength: offset("dict_len") ?? 12,
    caller: offset("caller_id"),
    size: size !== undefined && size >= FIXED ? size : undefined,
  };
}

/** @throws MissingError, AddressError, FormatError */
export function readRecordLog(kernel: Kernel): KernelLog {
  const { memory } = kernel;
  const buffer = pointerIn(kernel, "log_buf");
  const size = memory.u32(kernel.address("log_buf_len"));
  if (size < 64 || size > MAX_BUFFER) throw new FormatError("log_buf_len", `${size} bytes of log`);
  const losses = new Losses();
  const layout = layoutOf(kernel);
  const headers = chain(kernel, buffer, size, layout, losses);
  // Without a layout: what is left of the tightest record is its header.
  const tightest = headers.reduce(
    (least, each) => Math.min(least, each.length - each.textLength - each.dictionaryLength),
    24,
  );
  const header = layout.size ?? SIZES.findLast((each) => each <= tightest) ?? FIXED;
  const caller = layout.caller ?? (header > FIXED ? FIXED : undefined);
  // 3.5 had a u16 `level` in place of facility, flags and level, and so nothing in their byte.
  const early = headers.every((each) => each.bytes[layout.dictionaryLength + 3] === 0);
  // Up to 4.9 a record could go on in the line of the one before; the reader of syslog kept track of it (5aa068ea4082).
  const joins = kernel.find("syslog_prev") !== undefined;
  const records: LogRecord[] = [];
  let before = 0;
  for (const each of headers) {
    const packed = layout.dictionaryLength + 2;
    const flags = early ? LOG_NEWLINE | LOG_PREFIX : each.bytes[packed + 1] & 0x1f;
    const length = Math.min(each.textLength, Math.max(0, each.length - header));
    const { text, absent } = readLogText(memory, addressAdd(buffer, each.at + header), length);
    if (absent > 0) losses.add("bytes of text that are not in the dump", absent);
    records.push({
      sequence: undefined,
      nanoseconds: getU64(each.bytes, layout.time),
      level: early ? each.bytes[packed] & 7 : each.bytes[packed + 1] >> 5,
      facility: early ? getU16(each.bytes, packed) >> 3 : each.bytes[packed],
      caller: caller === undefined || caller + 4 > each.bytes.length ? undefined : getU32(each.bytes, caller),
      text,
      continues: joins && goesOn(before, flags),
      ...dictionary(kernel, addressAdd(buffer, each.at + header + length), each, header),
    });
    before = flags;
  }
  return { kind: "printk_log", address: buffer, size, records, complete: !losses.any, problems: losses.lines };
}

/** msg_print_text() of 3.5 to 4.9: whether a record continues the line of the record before. */
function goesOn(before: number, flags: number): boolean {
  if ((before & LOG_CONT) === 0 || (before & LOG_NEWLINE) !== 0) return false;
  return (flags & LOG_PREFIX) === 0 || (flags & LOG_CONT) !== 0;
}

/** The headers from log_first_idx to log_next_idx; a length of 0 means that the next one lies at the buffer's start. */
function chain(kernel: Kernel, buffer: VirtualAddress, size: number, layout: Layout, losses: Losses): Header[] {
  const { memory } = kernel;
  const first = memory.u32(kernel.address("log_first_idx"));
  const end = memory.u32(kernel.address("log_next_idx"));
  if (first >= size || end > size) {
    throw new FormatError(
      "log_first_idx",
      `records from 0x${first.toString(16)} to 0x${end.toString(16)} of 0x${size.toString(16)} bytes`,
    );
  }
  const headers: Header[] = [];
  let at = first;
  let used = 0;
  let wrapped = end > first;
  const stop = (problem: string): Header[] => {
    losses.tell(`the log: ${problem} at log_buf+0x${at.toString(16)}: the records behind it are left out`);
    return headers;
  };
  while (at !== end || !wrapped) {
    if (at >= size) {
      if (wrapped) return stop("the end of the buffer");
      wrapped = true;
      at = 0;
      continue;
    }
    const bytes =
      memory.tryRead(addressAdd(buffer, at), Math.min(24, size - at)) ?? memory.tryRead(addressAdd(buffer, at), FIXED);
    if (bytes === undefined || bytes.length < FIXED) return stop("a record that is not in the dump");
    const length = getU16(bytes, layout.length);
    if (length === 0) {
      if (wrapped) return stop("a record of no length");
      wrapped = true;
      at = 0;
      // An empty log has both ends at one place.
      if (first === 0 && end === 0) return headers;
      continue;
    }
    const header = {
      at,
      length,
      textLength: getU16(bytes, layout.textLength),
      dictionaryLength: getU16(bytes, layout.dictionaryLength),
      bytes,
    };
    used += length;
    const passes = wrapped && at < end && at + length > end;
    if (length < FIXED || header.textLength + header.dictionaryLength + FIXED > length || used > size || passes)
      return stop(`a record of ${length} bytes with ${header.textLength} of text`);
    if (headers.length >= MAX_RECORDS || used > MAX_TEXT) return stop("more than a log has");
    headers.push(header);
    at += length;
  }
  return headers;
}

/** "SUBSYSTEM=pci\0DEVICE=+pci:0000:00:00.0" behind the text. */
function dictionary(
  kernel: Kernel,
  at: VirtualAddress,
  { length, textLength, dictionaryLength }: Header,
  header: number,
): { subsystem?: string; device?: string } {
  if (dictionaryLength === 0 || header + textLength + dictionaryLength > length) return {};
  const out: { subsystem?: string; device?: string } = {};
  for (const part of readLogText(kernel.memory, at, dictionaryLength).text.split("\0")) {
    if (part.startsWith("SUBSYSTEM=")) out.subsystem = part.slice(10);
    if (part.startsWith("DEVICE=")) out.device = part.slice(7);
  }
  return out;
}
