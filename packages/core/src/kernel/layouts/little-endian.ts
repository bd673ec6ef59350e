// Scalars out of byte arrays whose bounds the caller has already checked; the Cursor is for formats.
export function getU16(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}
export function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}
export function getU64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(getU32(bytes, at + 4)) << 32n) | BigInt(getU32(bytes, at));
}
