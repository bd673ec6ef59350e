// ELF notes: 12-byte header, name, content, each padded to 4 bytes.
import { ByteWriter } from "../bytes.ts";

export function elfNote(name: string, type: number, desc: Uint8Array): Uint8Array {
  const w = new ByteWriter()
    .u32(name.length + 1)
    .u32(desc.length)
    .u32(type);
  return w.cstring(name).align(4).bytes(desc).align(4).take();
}
