// Checks the bug's specimen against the report itself: its rows of bytes, its displacements, its disassembly; and
// against the project's readers, which know nothing of how it was made.
import * as iced from "iced-x86";
import { beforeAll, describe, expect, test } from "vitest";
import { formatAddress, virtualAddress } from "../../core/src/bytes/brand.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { openModuleImage } from "../../core/src/image/module-image.ts";
import type { Kernel } from "../../core/src/kernel/kernel.ts";
import { openKernel } from "../../core/src/kernel/open.ts";
import { openDump } from "../../core/src/memory/open.ts";
import { hex, toHex } from "../bytes.ts";
import { type BugSpecimen, makeBugSpecimen } from "./specimen.ts";

let hung: BugSpecimen;
let kernel: Kernel;
beforeAll(() => {
  hung = makeBugSpecimen();
  kernel = openKernel(openDump(new BufferSource("hung", hung.dump)));
});

const at = (address: bigint, length: number) => toHex(kernel.memory.read(virtualAddress(address), length));

describe("the report's listing", () => {
  test.each([
    [0xffffffffa0020df0n, "00 e9 ed fe ff ff 66 2e 0f 1f 84 00 00 00 00 00"],
    [0xffffffffa0020e00n, "48 c7 c7 f8 5e 02 a0 e8 74 c3 5d e1 e8 cf a7 ff"],
    [0xffffffffa0020e10n, "ff 4c 89 e7 89 c3 e8 25 83 fe e0 66 90 fb 66 66"],
    [0xffffffffa0020e20n, "90 66 66 90 85 db 0f 84 1c 01 00 00 48 8b 05 bd"],
  ])("row %s", (address, row) => {
    expect(at(address, 16)).toBe(row);
  });

  test("the object file's bytes, with relocations where the report has zeros", () => {
    const floppy = openModuleImage(new BufferSource("floppy.ko", hung.modules.get("floppy.ko")!));
    const text = floppy.elf.bytes(floppy.elf.section(".text")!);
    expect(toHex(text.slice(0x6e00, 0x6e1d))).toBe(
      "48 c7 c7 00 00 00 00 e8 00 00 00 00 e8 cf a7 ff ff 4c 89 e7 89 c3 ff 14 25 00 00 00 00",
    );
  });

  test("next address + displacement leads to the functions that it names", () => {
    for (const [call, target] of [
      [0xffffffffa0020e07n, "_raw_spin_lock_irq"],
      [0xffffffffa0020e16n, "xen_spin_unlock"],
    ] as const) {
      const view = new DataView(kernel.memory.read(virtualAddress(call + 1n), 4).buffer);
      expect(BigInt.asUintN(64, call + 5n + BigInt(view.getInt32(0, true)))).toBe(
        kernel.symbols.lookup(target)?.address,
      );
    }
    expect(formatAddress(kernel.address("_raw_spin_lock_irq"))).toBe("0xffffffff815fd180");
    expect(formatAddress(kernel.address("xen_spin_unlock"))).toBe("0xffffffff81009140");
    expect(kernel.symbols.lookup("xen_spin_unlock")?.type).toBe("t");
    expect(kernel.symbols.lookup("_raw_spin_lock_irq")?.type).toBe("T");
  });

  test("the out-of-line lock is the ticket version", () => {
    const start = 0xffffffff815fd180n;
    const decoder = new iced.Decoder(64, hex(at(start, 25)), iced.DecoderOptions.None);
    decoder.ip = start;
    const lines: string[] = [];
    while (decoder.canDecode) {
      const i = decoder.decode();
      const target = i.mnemonic === iced.Mnemonic.Call ? ` ${formatAddress(i.nearBranch64)}` : "";
      lines.push(`+${i.ip - start} ${iced.Mnemonic[i.mnemonic]}${target}`);
    }
    expect(lines).toEqual([
      "+0 Push",
      "+1 Mov",
      "+4 Nop",
      "+9 Cli",
      "+10 Nop",
      "+13 Nop",
      "+16 Call 0xffffffff81033900",
      "+21 Nop",
      "+23 Pop",
      "+24 Ret",
    ]);
  });
});

test("the kernel is told from what its memory holds: no VMCOREINFO, no BTF", () => {
  expect(hung.dump.length).toBeLessThan(500_000);
  expect(kernel.vmcoreinfo).toBeUndefined();
  expect(kernel.find("__start_BTF")).toBeUndefined();
  expect(kernel.release).toBe("3.0.0-9-generic");
  expect(kernel.buildId).toBe(hung.truth.buildId);
  expect(kernel.modules.map((m) => m.name)).toEqual(["floppy", "parport"]);
});

test("each site's declared bytes are in memory", () => {
  for (const site of hung.truth.sites)
    expect([site.mechanism, at(site.address, site.length)]).toEqual([site.mechanism, site.found]);
  expect(hung.truth.lockSites.get("floppy pv_lock_ops.spin_unlock")).toBe(1);
});

test.each([
  [{ cpus: 1 }, "00 04 00 00"],
  [{ cpus: 2 }, "00 05 00 00"],
  [{ cpus: 1, wide: true }, "00 00 04 00"],
  [{ variant: "healthy" }, "1c 1c 00 00"],
] as const)("floppy_lock of %j is %s", (options, word) => {
  const { truth } = makeBugSpecimen(options);
  expect(truth.lock).toEqual({ address: 0xffffffffa0025ef8n, bytes: word });
});

test("CPUs spin with their tickets, and frame pointers lead back to the floppy code", () => {
  expect(at(hung.truth.lock.address, 4)).toBe("00 05 00 00");
  const seen = kernel.dump.cpus.map(({ registers }) => {
    const name = (address: bigint) => kernel.allSymbols.nearest(virtualAddress(address))!.symbol.name;
    const stack = [name(registers.rip)];
    for (let rbp = registers.rbp; rbp !== 0n && stack.length < 20; ) {
      stack.push(name(kernel.memory.u64(virtualAddress(rbp + 8n)) - 1n));
      rbp = kernel.memory.u64(virtualAddress(rbp));
    }
    expect(registers.general.rdi).toBe(hung.truth.lock.address);
    expect(registers.rflags & 0x200n).toBe(0n);
    return { functions: stack, ticket: Number(registers.general.rax >> 8n) };
  });
  expect(seen).toEqual(hung.truth.stacks);
  expect(seen[1].functions.slice(0, 4)).toEqual([
    "__ticket_spin_lock",
    "default_spin_lock_flags",
    "_raw_spin_lock_irqsave",
    "redo_fd_request",
  ]);
});
