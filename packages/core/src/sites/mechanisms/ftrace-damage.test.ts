// A damaged ftrace record must not turn into a finding about a function whose bytes are as they should be.
import { expect, it } from "vitest";
import { FTRACE_SYMBOLS, FTRACE_TYPES, putFtrace } from "../testing/fake-ftrace.ts";
import { at, fakeContext, fakeKernel, fakeObject } from "../testing/fake-kernel.ts";
import { applyFtrace } from "./ftrace.ts";

const TEXT = 0x1000000;
const RECORDS = 0x4100000 + 24;

/** Two sites, of which a record each is written with this address. */
function unjudged(...ips: readonly [bigint, bigint]) {
  const kernel = fakeKernel({ types: FTRACE_TYPES, symbols: FTRACE_SYMBOLS });
  putFtrace(kernel, [
    [TEXT, 0],
    [TEXT + 0x40, 0],
  ]);
  ips.forEach((ip, i) => {
    kernel.memory.put64(at(RECORDS + 16 * i), ip);
  });
  const table = new Uint8Array(16);
  new DataView(table.buffer).setBigUint64(0, at(TEXT), true);
  new DataView(table.buffer).setBigUint64(8, at(TEXT + 0x40), true);
  const sections = [
    { name: ".text", start: TEXT, bytes: new Uint8Array(0x100), text: true },
    { name: "__mcount_loc", start: 0x1800000, bytes: table },
  ];
  const context = fakeContext(kernel, fakeObject(sections));
  applyFtrace(context);
  return { sites: context.space.unjudged.map(({ sites, first }) => [sites, first - TEXT]), problems: context.problems };
}

it.each<[string, bigint, unknown, string | undefined]>([
  ["whole", at(TEXT + 0x40), [], undefined],
  [
    "no kernel address",
    at(TEXT + 0x40) ^ (1n << 40n),
    [[1, 0x40]],
    "ftrace records: 1 of them hold no address of kernel code",
  ],
  ["nothing at all", 0n, [[1, 0x40]], "ftrace records: 1 of them hold no address of kernel code"],
  [
    "another place of the same code",
    at(TEXT + 0x44),
    [[1, 0x40]],
    "an ftrace record of vmlinux leads to 0xffffffff81000044, where no site is",
  ],
])("%s", (_name, ip, sites, problem) => {
  expect(unjudged(at(TEXT), ip)).toEqual({ sites, problems: problem === undefined ? [] : [problem] });
});
