// Register notes and the CPUs that they are of: a vmcore leaves out CPUs that saved none, so positions mean nothing.
import { expect, test, vi } from "vitest";
import { makeSpecimen } from "../../../../specimen/index.ts";
import { BufferSource } from "../../bytes/source.ts";
import { cpuNotes, isPrstatus } from "../../memory/formats/cpu-notes.ts";
import { openDump } from "../../memory/open.ts";
import type { Dump } from "../../memory/types.ts";
import type { Kernel } from "../kernel.ts";
import { openKernel } from "../open.ts";

vi.setConfig({ testTimeout: 60_000 });

const RSP = 112 + 19 * 8;
const whole = openDump(new BufferSource("vmcore", makeSpecimen({}).dump));
const notes = whole.notes.filter(isPrstatus);
const registers = openKernel(whole).dump.cpus.map((cpu) => cpu.registers);

/** The dump with these NT_PRSTATUS notes and no other registers. */
function withNotes(descs: readonly Uint8Array[]): Dump {
  const list = [
    ...descs.map((desc) => ({ ...notes[0], desc })),
    ...whole.notes.filter(({ name }) => name === "VMCOREINFO"),
  ];
  return Object.create(whole, { notes: { value: list }, cpus: { value: cpuNotes(list, []) } });
}

const given = ({ dump }: Kernel) => dump.cpus.map(({ index, registers: { rsp } }) => [index, rsp]);
const about = ({ problems }: Kernel) => problems.filter((problem) => problem.includes("NT_PRSTATUS"));

function changed(desc: Uint8Array, at: number, value: bigint): Uint8Array {
  const out = desc.slice();
  new DataView(out.buffer).setBigUint64(at, value, true);
  return out;
}

test("a note goes to the CPU whose stack its rsp is in, wherever it stands in the file", () => {
  const [first, second] = notes.map(({ desc }) => desc);
  expect(given(openKernel(withNotes([second, first])))).toEqual([
    [0, registers[0].rsp],
    [1, registers[1].rsp],
  ]);
  const one = openKernel(withNotes([second]));
  expect(given(one)).toEqual([[1, registers[1].rsp]]);
  expect(about(one)).toEqual([]);
});

test("a note that no CPU's memory vouches for is given to none, and told", () => {
  const stray = changed(notes[0].desc, RSP, 0xffffb2c1dead0000n);
  const kernel = openKernel(withNotes([stray]));
  expect(given(kernel)).toEqual([]);
  expect(about(kernel)).toEqual([
    expect.stringMatching(/^NT_PRSTATUS note 1 \(rip 0x.*\) is given to no CPU: neither/),
  ]);
});

test("a second note for the same CPU is told, not shown", () => {
  const { desc } = notes[1];
  const kernel = openKernel(withNotes([desc, changed(desc, RSP, registers[1].rsp - 8n)]));
  expect(given(kernel)).toEqual([[1, registers[1].rsp]]);
  expect(about(kernel)).toEqual([expect.stringMatching(/note 2 .* CPU 1 has another note already$/)]);
});

test("a note of zeros is no registers", () => {
  const kernel = openKernel(withNotes([new Uint8Array(336)]));
  expect(given(kernel)).toEqual([]);
  expect(about(kernel)).toEqual([expect.stringMatching(/^1 NT_PRSTATUS note is all zero: no registers/)]);
});

test("a CPU of a hypervisor that was never woken is not started, and not in user mode", () => {
  const cpus = whole.cpus.map((note) => {
    if (note.index === 0) return note;
    const reset = {
      rip: 0xfff0n,
      rsp: 0n,
      rbp: 0n,
      rflags: 2n,
      cs: 0xf000,
      general: { rip: 0xfff0n },
      cr0: 0x60000010n,
    };
    return { ...note, registers: { ...reset, gsBase: 0n, kernelGsBase: 0n } };
  });
  const kernel = openKernel(Object.create(whole, { cpus: { value: cpus } }));
  expect(kernel.dump.cpus.map(({ index, started }) => [index, started])).toEqual([
    [0, undefined],
    [1, false],
  ]);
  // The kernel has it online all the same, which both cannot be.
  expect(kernel.unseen).toEqual([expect.stringMatching(/the mask of online CPUs \(0-1\) has CPU 1, but QEMU/)]);
});

test("a hypervisor's vCPU goes to the CPU that its GS base is of", () => {
  const cpus = whole.cpus.map((note) => ({ ...note, index: 1 - note.index })).reverse();
  const kernel = openKernel(Object.create(whole, { cpus: { value: cpus } }));
  expect(given(kernel)).toEqual([
    [0, registers[0].rsp],
    [1, registers[1].rsp],
  ]);
});
