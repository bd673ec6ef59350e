// Dumps and modules that are broken in one place, made from the specimens: each is told with file and offset, and none ends
// as "No findings" of a whole machine.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { afterAll, describe, expect, test, vi } from "vitest";
import { BufferSource } from "../../packages/core/src/bytes/source.ts";
import { openKernel } from "../../packages/core/src/kernel/open.ts";
import { openDump } from "../../packages/core/src/memory/open.ts";
import type { Dump, PhysicalMemory } from "../../packages/core/src/memory/types.ts";
import { makeSpecimen } from "../../packages/specimen/index.ts";
import { palimpsest, temporaryFolder } from "./support.ts";

vi.setConfig({ testTimeout: 60_000 });

const { path: folder, remove } = temporaryFolder();
afterAll(remove);
const specimen = makeSpecimen({});
const kernel = openKernel(openDump(new BufferSource("vmcore", specimen.dump)));
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

interface Program {
  readonly at: number;
  readonly offset: number;
  readonly physical: number;
  readonly size: number;
}

function loads(bytes: Uint8Array): Program[] {
  const v = view(bytes);
  return Array.from({ length: v.getUint16(56, true) }, (_, i) => Number(v.getBigUint64(32, true)) + i * 56)
    .filter((at) => v.getUint32(at, true) === 1)
    .map((at) => ({
      at,
      offset: Number(v.getBigUint64(at + 8, true)),
      physical: Number(v.getBigUint64(at + 24, true)),
      size: Number(v.getBigUint64(at + 32, true)),
    }));
}

/** File offset of a kernel address. */
function offsetOf(bytes: Uint8Array, address: bigint): number {
  const physical = Number(kernel.memory.translate(address as never).physical);
  const load = loads(bytes).find((each) => physical >= each.physical && physical < each.physical + each.size);
  if (load === undefined) throw new Error(`0x${address.toString(16)} is not in the specimen`);
  return load.offset + physical - load.physical;
}

let made = 0;
async function diagnose(change: {
  dump?: (bytes: Uint8Array) => void;
  modules?: (name: string, bytes: Uint8Array) => void;
}) {
  const at = join(folder, String(made++));
  mkdirSync(join(at, "modules"), { recursive: true });
  const dump = specimen.dump.slice();
  change.dump?.(dump);
  writeFileSync(join(at, "vmcore"), dump);
  writeFileSync(join(at, "vmlinuz"), specimen.vmlinuz);
  for (const [name, bytes] of specimen.modules) {
    const copy = bytes.slice();
    change.modules?.(name, copy);
    writeFileSync(join(at, "modules", name), copy);
  }
  const ran = await palimpsest("diagnose", join(at, "vmcore"), "--json", "--no-cache", "--prove", "none");
  const result = JSON.parse(ran.stdout);
  return {
    ...ran,
    result,
    told: [...result.notes, ...(result.notChecked ?? []).map((each: { reason: string }) => each.reason)],
  };
}

test("the specimen itself is whole", async () => {
  const { status, result } = await diagnose({});
  expect([status, result.complete, result.notes]).toEqual([0, true, []]);
});

describe("what keeps a part of the kernel from being seen", () => {
  test("the list of modules leads into nothing", async () => {
    const { status, result, told } = await diagnose({
      dump: (bytes) => view(bytes).setBigUint64(offsetOf(bytes, kernel.address("modules")), 0xffffffffc1230000n, true),
    });
    expect([status, result.complete]).toEqual([2, false]);
    expect(told).toContainEqual(expect.stringMatching(/^the list of modules: 0xffffffffc1230000: /));
  });

  test("the mask of online CPUs is empty", async () => {
    const { status, result, told } = await diagnose({
      dump: (bytes) => view(bytes).setBigUint64(offsetOf(bytes, kernel.address("__cpu_online_mask")), 0n, true),
    });
    expect([status, result.complete]).toEqual([2, false]);
    expect(told).toContain("the mask of online CPUs (none) is empty, though the dump has registers of CPU 0-1");
  });

  test("the mask has 39 CPUs", async () => {
    const { status, result, told } = await diagnose({
      dump: (bytes) =>
        view(bytes).setBigUint64(offsetOf(bytes, kernel.address("__cpu_online_mask")), (1n << 39n) - 1n, true),
    });
    expect([status, result.complete]).toEqual([2, false]);
    expect(told).toContainEqual(expect.stringMatching(/^the mask of online CPUs \(0-38\) has CPU 2-38/));
  });

  test("two segments share bytes of the file", async () => {
    let shared = 0;
    const { result, told } = await diagnose({
      dump: (bytes) => {
        const [first, second] = loads(bytes).slice(-2);
        shared = first.offset;
        view(bytes).setBigUint64(second.at + 8, BigInt(first.offset), true);
      },
    });
    expect(result.complete ?? false).toBe(false);
    expect(told.join("\n")).toContain(`share the bytes of the file at 0x${shared.toString(16)}`);
    expect(told.join("\n")).toContain("neither is read");
    // What nobody can tell is absent, never wrong.
    expect(result.findings ?? []).toEqual([]);
  });
});

describe("section headers of a module's file that were overwritten", () => {
  const header = (bytes: Uint8Array, index: number) => Number(view(bytes).getBigUint64(40, true)) + index * 64;
  const count = (bytes: Uint8Array) => view(bytes).getUint16(60, true);
  const relas = (bytes: Uint8Array) =>
    Array.from({ length: count(bytes) }, (_, i) => i).filter(
      (i) => view(bytes).getUint32(header(bytes, i) + 4, true) === 4,
    );

  test.each<[string, (bytes: Uint8Array) => void, RegExp]>([
    [
      "relocations of another section",
      (bytes) => {
        const at = header(bytes, relas(bytes)[0]) + 44;
        view(bytes).setUint32(at, view(bytes).getUint32(at, true) + 1, true);
      },
      /vellum\.ko: section header \d+ \(\.rela\S+\) at 0x[0-9a-f]+: it changes section \d+/,
    ],
    [
      "an alignment of no power of two",
      (bytes) => view(bytes).setUint32(header(bytes, 1) + 48, 2428, true),
      /alignment 2428/,
    ],
    [
      "a first header that is not empty",
      (bytes) => view(bytes).setUint32(header(bytes, 0) + 8, 1, true),
      /is not empty/,
    ],
    [
      "one section on top of another",
      (bytes) => {
        const to = header(bytes, 2) + 24;
        view(bytes).setBigUint64(to, view(bytes).getBigUint64(header(bytes, 1) + 24, true), true);
      },
      /shares bytes of the file with section/,
    ],
  ])("%s", async (_, damage, words) => {
    const { status, result, told } = await diagnose({
      modules: (name, bytes) => {
        if (name === "vellum.ko") damage(bytes);
      },
    });
    expect([status, result.complete]).toEqual([2, false]);
    expect(told.join("\n")).toMatch(words);
  });
});

test("a section that the linker renamed and relocations that kept its name are no contradiction", async () => {
  const { result, told } = await diagnose({
    modules: (name, bytes) => {
      if (name !== "vellum.ko") return;
      // As LLVM's linker has it in a kernel with kCFI: .rela.kcfi_traps belongs to __kcfi_traps.
      const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf("\0.rela__mcount_loc\0");
      expect(at).toBeGreaterThan(0);
      bytes.set(Buffer.from(".mc", "latin1"), at + 6);
    },
  });
  expect(told.join("\n")).not.toMatch(/section header/);
  expect(result.complete).toBe(true);
});

describe("VMCOREINFO of another boot", () => {
  /** The same length, so that nothing else in the file moves. */
  function swap(bytes: Uint8Array, key: string, value: (old: string) => string): void {
    const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(`\n${key}=`) + key.length + 2;
    let end = at;
    while (bytes[end] !== 10) end++;
    const old = Buffer.from(bytes.subarray(at, end)).toString("latin1");
    const now = value(old);
    expect(now).not.toBe(old);
    expect(now.length).toBe(old.length);
    bytes.set(Buffer.from(now, "latin1"), at);
  }
  const digit = (old: string) => old.replace(/[1-8](?=\d*$)/, (each) => String(Number(each) + 1));

  test.each<[string, string, (old: string) => string, RegExp]>([
    ["phys_base", "NUMBER(phys_base)", digit, /VMCOREINFO is of another boot/],
    [
      "KERNELOFFSET",
      "KERNELOFFSET",
      (old) => old.replace(/^./, (each) => (Number.parseInt(each, 16) ^ 2).toString(16)),
      /KERNELOFFSET is 0x/,
    ],
    ["_stext", "SYMBOL(_stext)", (old) => old.replace(/.{4}$/, "7000"), /_stext is 0xffffffff/],
  ])("%s: told, and nothing is believed of it", async (_, key, value, words) => {
    const { status, result, told } = await diagnose({ dump: (bytes) => swap(bytes, key, value) });
    expect(told.join("\n")).toMatch(words);
    expect(result.objects.map(({ name }: { name: string }) => name)).toEqual(["vmlinux", "quire", "vellum"]);
    expect([status, result.findings, result.complete]).toEqual([0, [], true]);
  });
});

describe("packed pages", () => {
  const packed = makeSpecimen({ format: "kdump" }).dump;
  const run = async (name: string, bytes: Uint8Array) => {
    mkdirSync(join(folder, name, "modules"), { recursive: true });
    writeFileSync(join(folder, name, "vmcore"), bytes);
    writeFileSync(join(folder, name, "vmlinuz"), specimen.vmlinuz);
    for (const [file, content] of specimen.modules) writeFileSync(join(folder, name, "modules", file), content);
    const ran = await palimpsest("diagnose", join(folder, name, "vmcore"), "--json", "--no-cache", "--prove", "none");
    return { ...ran, result: JSON.parse(ran.stdout) };
  };
  /** Place of the page descriptor of a kernel address, and what it says. */
  function descriptorOf(bytes: Uint8Array, address: bigint) {
    const v = view(bytes);
    const [subBlocks, bitmapBlocks] = [v.getUint32(432, true), v.getUint32(436, true)];
    const half = (bitmapBlocks * 4096) / 2;
    const bitmap = (1 + subBlocks) * 4096 + half;
    const pfn = Number(kernel.memory.translate(address as never).physical) >> 12;
    let rank = 0;
    for (let frame = 0; frame < pfn; frame++) rank += (bytes[bitmap + (frame >> 3)] >> (frame & 7)) & 1;
    const at = bitmap + half + rank * 24;
    return { at, pfn, offset: Number(v.getBigUint64(at, true)), size: v.getUint32(at + 8, true) };
  }

  test("a page of code that cannot be unpacked is told once, with frame and offset", async () => {
    const bytes = packed.slice();
    const { pfn, offset, size } = descriptorOf(bytes, kernel.address("vfs_write"));
    bytes.fill(0xff, offset + 2, offset + size);
    const { status, result } = await run("broken", bytes);
    expect([status === 0, result.complete]).toEqual([false, false]);
    const told = result.notes.filter((each: string) => each.includes("broken zlib data"));
    expect(told).toEqual([expect.stringContaining(`page frame 0x${pfn.toString(16)} at 0x${offset.toString(16)}: `)]);
  });

  test("a descriptor that points past the end of the file is told", async () => {
    const bytes = packed.slice();
    const { at, pfn } = descriptorOf(bytes, kernel.address("vfs_write"));
    view(bytes).setBigUint64(at, BigInt(bytes.length + 50), true);
    const { result } = await run("gone", bytes);
    expect(result.complete).toBe(false);
    expect(result.notes.join("\n")).toContain(`page frame 0x${pfn.toString(16)}, descriptor at 0x${at.toString(16)}: `);
  });

  test("a page without which there is no symbol is named beside the refusal", async () => {
    const bytes = packed.slice();
    const { pfn, offset, size } = descriptorOf(bytes, kernel.vmcoreinfo?.symbol("kallsyms_names") ?? 0n);
    bytes.fill(0xff, offset + 2, offset + size);
    const { status, result } = await run("names", bytes);
    expect([status, result.schema]).toEqual([2, "palimpsest/error/1"]);
    expect(result.notes.join("\n")).toContain(
      `page frame 0x${pfn.toString(16)} at 0x${offset.toString(16)}: broken zlib`,
    );
  });

  test("pages packed with zstd open as they are", async () => {
    // A zstd frame of one raw block: what any decoder takes.
    const bytes = Array.from(packed);
    const { at, offset, size } = descriptorOf(packed, kernel.address("vfs_write"));
    const page =
      size === 4096 ? packed.subarray(offset, offset + size) : inflateSync(packed.subarray(offset, offset + size));
    const frame = [
      0x28,
      0xb5,
      0x2f,
      0xfd,
      0x60,
      0x00,
      0x0f,
      ...[(4096 << 3) | 1, 4096 >> 5, 4096 >> 13].map((b) => b & 0xff),
      ...page,
    ];
    const grown = Uint8Array.from([...bytes, ...frame]);
    view(grown).setBigUint64(at, BigInt(packed.length), true);
    view(grown).setUint32(at + 8, frame.length, true);
    view(grown).setUint32(at + 12, 0x20, true);
    view(grown).setUint32(424, 0x20, true); // DUMP_DH_COMPRESSED_ZSTD
    const { status, result } = await run("zstd", grown);
    expect([status, result.findings, result.complete]).toEqual([0, [], true]);
  });
});

describe("a dump without the kernel's top page table", () => {
  const root = Number(
    (kernel.vmcoreinfo?.symbol("init_top_pgt") ?? 0n) -
      0xffffffff80000000n +
      (kernel.vmcoreinfo?.number("phys_base") ?? 0n),
  );
  const without = (): Dump => {
    const whole = openDump(new BufferSource("vmcore", specimen.dump));
    const gone = new Set([root, ...whole.cpus.map(({ registers }) => Number((registers.cr3 ?? 0n) & ~0xfffn))]);
    const { physical } = whole;
    const memory: PhysicalMemory = {
      ranges: physical.ranges,
      page: (pfn) => (gone.has(pfn * 4096) ? undefined : physical.page(pfn)),
      read: (address, into, absent) => {
        physical.read(address, into, absent);
        for (const page of gone) {
          const at = page - Number(address);
          if (at >= 0 && at < into.length) {
            into.fill(0, at, at + 4096);
            absent(at, Math.min(4096, into.length - at));
          }
        }
      },
    };
    return Object.create(whole, { physical: { value: memory } });
  };

  test("is read by phys_base, and says which page is missing", () => {
    const found = openKernel(without());
    expect(found.addressSpace).toBe("phys_base in VMCOREINFO, without page tables");
    expect(found.release).toBe(kernel.release);
    expect(found.find("vfs_write")).toBe(kernel.find("vfs_write"));
    expect(found.unseen?.[0]).toContain(`init_top_pgt, physical 0x${root.toString(16)}) is not in the dump`);
  });
});

describe("kernels of other machines", () => {
  test.each<[string, (bytes: Uint8Array) => void, string]>([
    [
      "ELF of 32 bits",
      (bytes) => {
        bytes[4] = 1;
        view(bytes).setUint16(18, 3, true);
      },
      "a dump of a 32-bit x86 kernel",
    ],
    ["ELF of arm64", (bytes) => view(bytes).setUint16(18, 183, true), "a dump of an arm64 kernel"],
  ])("%s", async (name, change, words) => {
    const bytes = specimen.dump.slice();
    change(bytes);
    writeFileSync(join(folder, "other"), bytes);
    const { status, stderr } = await palimpsest("info", join(folder, "other"));
    expect([status, name]).toEqual([2, name]);
    expect(stderr).toContain(`${words} is not supported`);
  });

  test("raw memory of arm64 tells by its VMCOREINFO", () => {
    const bytes = new Uint8Array(32 << 20);
    bytes.set(new TextEncoder().encode("Linux version 6.1.0 (arm64)\n"), 0x300000);
    bytes.set(new TextEncoder().encode("OSRELEASE=6.1.0\nPAGESIZE=4096\nNUMBER(VA_BITS)=48\n"), 0x400000);
    expect(() => openKernel(openDump(new BufferSource("memory", bytes)))).toThrow(
      "a dump of an arm64 kernel is not supported",
    );
  });
});
