import { expect, it } from "vitest";
import { FormatError } from "../bytes/errors.ts";
import { BufferSource } from "../bytes/source.ts";
import { openDump } from "./open.ts";
import { ascii } from "./testing/make-elf.ts";

function bzImage(): Uint8Array {
  const bytes = new Uint8Array(1024);
  bytes.set(ascii("MZ"));
  bytes.set(ascii("HdrS"), 0x202);
  return bytes;
}

it.each<[Uint8Array, string]>([
  [new Uint8Array(0), "an empty file"],
  [bzImage(), "a Linux kernel image (bzImage)"],
  [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0), "zstd-compressed data; unpack it first"],
  [Uint8Array.of(0x1f, 0x8b, 8, 0), "gzip-compressed data"],
  [ascii("!<arch>\ndebian-binary"), "a Debian package or ar archive"],
  [ascii("hello\nworld\n"), "a text file"],
  [new Uint8Array(9000), "a file that starts with 1024 zero bytes"],
  [Uint8Array.of(0xde, 0xad, 0xbe, 0xef), "unknown kind (it starts with de ad be ef)"],
  [ascii("ELF"), "a text file"],
])("says what a file that is no dump looks like (%#)", (bytes, what) => {
  const open = () => openDump(new BufferSource("file", bytes));
  expect(open).toThrow(FormatError);
  expect(open).toThrow(what);
});

it("names dump formats that it does not read", () => {
  expect(() => openDump(new BufferSource("file", ascii("DISKDUMP")))).toThrow("a diskdump (before kdump");
  expect(() => openDump(new BufferSource("file", ascii("PAGEDU64")))).toThrow("a Windows crash dump is not supported");
});

it("takes a file without any magic for raw memory when a kernel is in it", () => {
  const bytes = new Uint8Array(16 << 20);
  const open = (part: Uint8Array) => openDump(new BufferSource("file", part));
  expect(() => open(bytes)).toThrow('starts with 1024 zero bytes; as raw memory it holds no "Linux version" banner');
  bytes.set(ascii("Linux version 6.1.0"), 0x123456);
  const dump = open(bytes);
  expect(dump.format).toBe("raw");
  expect(dump.physical.ranges).toEqual([{ start: 0n, length: 16n << 20n }]);
  expect(() => open(bytes.subarray(1))).toThrow(FormatError); // no whole pages
  bytes.set(ascii("QFI\xfb")); // a disk image may hold a kernel too
  expect(() => open(bytes)).toThrow("a qcow2 disk image");
});
