// Puts a flattened kdump (makedumpfile's form for pipes, which is what QEMU writes) in order: the plain form has the
// same bytes at the offsets that the flattened records name. As makedumpfile -R does.
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { LabError } from "./errors.ts";

const HEADER_BYTES = 4096;
const RECORD_BYTES = 16;
const CHUNK_BYTES = 1 << 20;

/** Writes the plain form of the flattened kdump `source` to `target`. @throws LabError on a broken file */
export function rearrange(source: string, target: string): void {
  const input = openSync(source, "r");
  const output = openSync(target, "w");
  try {
    const read = (bytes: Buffer, at: number) => {
      if (readSync(input, bytes, 0, bytes.length, at) !== bytes.length) {
        throw new LabError(`${source}: ends at 0x${at.toString(16)}, before its last record`);
      }
      return bytes;
    };
    if (read(Buffer.alloc(16), 0).toString("latin1") !== "makedumpfile\0\0\0\0") {
      throw new LabError(`${source}: not a flattened kdump`);
    }
    const record = Buffer.alloc(RECORD_BYTES);
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let position = HEADER_BYTES;
    for (;;) {
      read(record, position);
      position += RECORD_BYTES;
      const offset = Number(record.readBigInt64BE(0));
      let left = Number(record.readBigInt64BE(8));
      if (offset < 0 || left < 0) return; // the end mark: offset and size -1
      for (let to = offset; left > 0; ) {
        const part = read(chunk.subarray(0, Math.min(left, CHUNK_BYTES)), position);
        writeSync(output, part, 0, part.length, to);
        to += part.length;
        position += part.length;
        left -= part.length;
      }
    }
  } finally {
    closeSync(input);
    closeSync(output);
  }
}
