import { describe, expect, it } from "vitest";
import { parseBootFlags } from "./arguments.ts";
import { defaultOptions } from "./dump-types.ts";

describe("parseBootFlags", () => {
  it("is the default without flags", () => {
    expect(parseBootFlags({})).toEqual(defaultOptions);
  });
  it("reads every flag", () => {
    expect(
      parseBootFlags({
        smp: "2",
        mem: "256",
        cpu: "Skylake-Server,-avx512f,vendor=GenuineIntel",
        append: " nokaslr retbleed=stuff ",
        modules: "loop, dm-mod",
        state: "function,kprobe",
        format: "elf,kdump-plain",
        snapshots: "10",
      }),
    ).toEqual({
      cpus: 2,
      memoryMegabytes: 256,
      cpuModel: "Skylake-Server,-avx512f,vendor=GenuineIntel",
      append: "nokaslr retbleed=stuff",
      modules: ["loop", "dm-mod"],
      states: ["function", "kprobe"],
      formats: ["elf", "kdump-plain"],
      snapshots: 10,
    });
  });
  it("loads no modules when the list is empty", () => {
    expect(parseBootFlags({ modules: "" }).modules).toEqual([]);
    expect(parseBootFlags({ state: "" }).states).toEqual(["plain"]);
  });
  it.each([
    [{ smp: "0" }, '--smp "0": a whole number from 1 to 64 is wanted'],
    [{ smp: "1e1" }, '--smp "1e1": a whole number'],
    [{ mem: "64" }, '--mem "64": a whole number from 96 to 65536'],
    [{ mem: "" }, '--mem "": a whole number'],
    [{ cpu: "max -hda x" }, '--cpu "max -hda x": not a CPU model'],
    [{ append: "a\nb" }, "--append: a kernel command line is plain ASCII"],
    [{ modules: "../x" }, '--modules: "../x" is no module name'],
    [{ state: "asleep" }, '--state "asleep": there are plain, function,'],
    [{ format: "lzo" }, '--format "lzo": there are elf, elf-paging, kdump-zlib, kdump-plain'],
    [{ format: "," }, "--format: name at least one of elf"],
    [{ snapshots: "1000" }, '--snapshots "1000": a whole number from 1 to 100'],
  ])("refuses %j", (flags, message) => {
    expect(() => parseBootFlags(flags)).toThrow(message);
  });
  it("takes a real kdump from a state that panics, and from no other", () => {
    expect(parseBootFlags({ state: "offline-one,kdump" }).formats).toEqual(["kexec"]);
    expect(() => parseBootFlags({ state: "kdump", format: "elf" })).toThrow(/--format: kexec is what/);
    expect(() => parseBootFlags({ format: "elf,kexec" })).toThrow(/--format: kexec is what/);
  });
});
