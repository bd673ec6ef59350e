// What a dump of a running machine lacks: every sign of a machine that stood still must be missing, and be known to be.
import { expect, it } from "vitest";
import type { ElfNote } from "../../bytes/elf.ts";
import type { Dump } from "../../memory/types.ts";
import { fakeKernel } from "../../sites/testing/fake-kernel.ts";
import { FakeMemory } from "../../sites/testing/fake-memory.ts";
import type { Kernel } from "../kernel.ts";
import { liveEvidence } from "./liveness.ts";

const BASE = 0xffffffff80000000n;
const SYMBOLS = { nr_cpu_ids: 0x1000, __per_cpu_offset: 0x1100, crash_notes: 0x1200, panic_cpu: 0x1300 };
const AREAS = [0xffff888000100000n, 0xffff888000200000n];

const note = (name: string, filled: boolean, type = 1): ElfNote => ({
  ...{ name, type, where: "test" },
  desc: new Uint8Array(336).fill(filled ? 7 : 0, 112),
});

/** A machine of two CPUs whose crash notes are empty. */
function machine(dump: Partial<Dump>, change?: (memory: FakeMemory) => void, left: readonly string[] = []): Kernel {
  const memory = new FakeMemory()
    .put32(BASE + 0x1000n, 2)
    .put64(BASE + 0x1200n, 0x40)
    .put32(BASE + 0x1300n, -1);
  AREAS.forEach((area, cpu) => {
    memory.put64(BASE + 0x1100n + BigInt(8 * cpu), area).put(area + 0x40n, new Uint8Array(356));
  });
  change?.(memory);
  const symbols = Object.fromEntries(Object.entries(SYMBOLS).filter(([name]) => !left.includes(name)));
  const kernel = fakeKernel({ symbols, memory });
  const info = { format: "kdump", vmcoreinfo: "OSRELEASE=6.1.0-fake", notes: [note("VMCOREINFO", true, 0)] };
  return { ...kernel, dump: { ...kernel.dump, ...info, ...dump } };
}

const saved = (memory: FakeMemory): void => {
  memory
    .put32(AREAS[1] + 0x40n, 5)
    .put32(AREAS[1] + 0x44n, 336)
    .put32(AREAS[1] + 0x48n, 1);
  memory.text(AREAS[1] + 0x4cn, "CORE");
};
/** A third CPU, whose area is not in the dump. */
const thirdArea = (memory: FakeMemory): void => {
  memory.put32(BASE + 0x1000n, 3).put64(BASE + 0x1110n, 0xffff888000300000n);
};
const registers = { index: 0, source: "QEMU", registers: {} } as unknown as Dump["cpus"][number];

it.each<[string, Kernel, boolean]>([
  ["makedumpfile of /proc/kcore", machine({}), true],
  ["/proc/kcore itself, with a note of zeros", machine({ format: "elf", notes: [note("CORE", false)] }), true],
  ["a kernel older than panic_cpu", machine({}, undefined, ["panic_cpu"]), true],
  ["registers of a CPU", machine({ cpus: [registers] }), false],
  ["registers that were given to no CPU", machine({ notes: [note("CORE", true)] }), false],
  ["a hypervisor's notes", machine({ notes: [note("QEMU", true, 0)] }), false],
  ["a CPU that saved its registers", machine({}, saved), false],
  ["a panic", machine({}, (memory) => memory.put32(BASE + 0x1300n, 1)), false],
  ["raw memory", machine({ format: "raw" }), false],
  ["no VMCOREINFO", machine({ vmcoreinfo: undefined }), false],
  ["a file that is cut off", machine({ incomplete: true }), false],
  ["a kernel without crash notes", machine({}, undefined, ["crash_notes"]), false],
  ["a CPU whose area nothing tells", machine({}, (memory) => memory.put32(BASE + 0x1000n, 3)), false],
  ["crash notes that are not in the dump", machine({}, thirdArea), false],
])("%s", (_what, kernel, live) => {
  expect(liveEvidence(kernel) !== undefined).toBe(live);
});
