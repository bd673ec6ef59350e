// The notes of a part of a dump that may be cut off or damaged: those that are whole are kept.
import { type ElfNote, readNotes } from "../../bytes/elf.ts";
import type { ByteSource } from "../../bytes/source.ts";

// Notes are some hundred bytes a CPU plus VMCOREINFO of one page; 8,192 CPUs need under 8 MiB.
const NOTES_LIMIT = 64 << 20;

/** The whole notes in [offset, offset+length), which must lie inside the source; a cut one is told in `problems`. */
export function notesAt(source: ByteSource, offset: number, length: number, problems: string[]): ElfNote[] {
  const part = `${source.name}: notes at 0x${offset.toString(16)}`;
  if (length > NOTES_LIMIT) problems.push(`${part}: ${length} bytes claimed, only ${NOTES_LIMIT} read`);
  const bytes = source.read(offset, Math.min(length, NOTES_LIMIT)).slice();
  const whole = wholeNotes(bytes);
  if (whole < bytes.length) problems.push(`${part}+0x${whole.toString(16)}: a note runs past the end`);
  return readNotes(bytes.subarray(0, whole), part);
}

/** How many bytes of `bytes` are notes that end inside it. */
function wholeNotes(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (bytes.length - at >= 12) {
    const nameSize = view.getUint32(at, true);
    const descSize = view.getUint32(at + 4, true);
    if (nameSize === 0 && descSize === 0 && view.getUint32(at + 8, true) === 0) return bytes.length;
    const descAt = at + 12 + Math.ceil(nameSize / 4) * 4;
    if (descAt + descSize > bytes.length) return at;
    at = Math.min(bytes.length, descAt + Math.ceil(descSize / 4) * 4);
  }
  return bytes.length;
}
