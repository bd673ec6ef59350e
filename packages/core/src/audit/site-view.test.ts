// The bytes that bug 838026's report quotes, fed in as they stand there, give the sums that its authors made by hand.
import { describe, expect, it } from "vitest";
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { hex } from "../sites/testing/fake-kernel.ts";
import { arraySymbolTable } from "../symbols/array-symbols.ts";
import { decodedLines } from "./site-view.ts";

/** ffffffffa0020e00 … ffffffffa0020e1d of the dump */
const DUMP = `48 c7 c7 f8 5e 02 a0 e8 74 c3 5d e1 e8 cf a7 ff
ff 4c 89 e7 89 c3 e8 25 83 fe e0 66 90 fb 66 66`;
/** 6e00 … 6e1c of floppy.ko */
const OBJECT = "48 c7 c7 00 00 00 00 e8 00 00 00 00 e8 cf a7 ff ff 4c 89 e7 89 c3 ff 14 25 00 00 00 00";

const kernel = {
  allSymbols: arraySymbolTable([
    { name: "xen_spin_unlock", type: "t", address: 0xffffffff81009140n as VirtualAddress },
    { name: "_raw_spin_lock_irq", type: "T", address: 0xffffffff815fd180n as VirtualAddress },
    { name: "set_next_request", type: "t", address: 0xffffffffa001b5e0n as VirtualAddress, module: "floppy" },
  ]),
} as unknown as Kernel;

describe("the report of bug 838026", () => {
  it("names what the dump's calls lead to", () => {
    const lines = decodedLines(kernel, hex(DUMP), virtualAddress(0xffffffffa0020e00n));
    expect(lines.slice(0, 8).map((line) => [line.address, line.bytes, line.sum])).toEqual([
      ["0xffffffffa0020e00", "48 c7 c7 f8 5e 02 a0", undefined],
      [
        "0xffffffffa0020e07",
        "e8 74 c3 5d e1",
        "ffffffffa0020e0c + ffffffffe15dc374 => ffffffff815fd180 (T) _raw_spin_lock_irq",
      ],
      [
        "0xffffffffa0020e0c",
        "e8 cf a7 ff ff",
        "ffffffffa0020e11 + ffffffffffffa7cf => ffffffffa001b5e0 (t) set_next_request [floppy]",
      ],
      ["0xffffffffa0020e11", "4c 89 e7", undefined],
      ["0xffffffffa0020e14", "89 c3", undefined],
      [
        "0xffffffffa0020e16",
        "e8 25 83 fe e0",
        "ffffffffa0020e1b + ffffffffe0fe8325 => ffffffff81009140 (t) xen_spin_unlock",
      ],
      ["0xffffffffa0020e1b", "66 90", undefined],
      ["0xffffffffa0020e1d", "fb", undefined],
    ]);
  });

  it("has the object's instructions at the same places", () => {
    const lines = decodedLines(kernel, hex(OBJECT), virtualAddress(0x6e00n));
    expect(lines.map((line) => `${line.address.slice(-4)}: ${line.bytes}  ${line.text}`)).toEqual([
      "6e00: 48 c7 c7 00 00 00 00  mov $0x0,%rdi",
      "6e07: e8 00 00 00 00  call 0x6e0c",
      "6e0c: e8 cf a7 ff ff  call 0x15e0",
      "6e11: 4c 89 e7  mov %r12,%rdi",
      "6e14: 89 c3  mov %eax,%ebx",
      "6e16: ff 14 25 00 00 00 00  callq *0x0",
    ]);
  });
});
