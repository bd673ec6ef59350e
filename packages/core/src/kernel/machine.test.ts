import { describe, expect, it } from "vitest";
import { at, fakeKernel } from "../sites/testing/fake-kernel.ts";
import { machineOf } from "./machine.ts";

const HYPER = 0x1400000;
const XEN = 0x1500000;
const NAME = 0x1500100;

function hypervisor(pointer: bigint, name = "Xen HVM"): string | undefined {
  const kernel = fakeKernel({ symbols: { x86_hyper: HYPER } });
  kernel.memory.put64(at(HYPER), pointer).put64(at(XEN), at(NAME)).text(at(NAME), name);
  return machineOf(kernel).hypervisor;
}

describe("the machine of kernels up to 4.14", () => {
  it("names the hypervisor that x86_hyper points to", () => {
    expect(hypervisor(at(XEN))).toBe("Xen HVM");
    expect(hypervisor(0n)).toBe("none (bare metal, or one that the kernel does not know)");
  });

  it("does not repeat what is no name", () => {
    expect(hypervisor(at(XEN), "\u0001\u0002")).toBeUndefined();
    expect(hypervisor(at(0x1700000))).toBeUndefined();
  });

  it("reads CPUs and the command line, each by itself", () => {
    const symbols = { nr_cpu_ids: 0x1600000, cpu_online_bits: 0x1600100, saved_command_line: 0x1600200 };
    const kernel = fakeKernel({ symbols });
    kernel.memory.put32(at(symbols.nr_cpu_ids), 256).put(at(symbols.cpu_online_bits), [5, ...new Array(31).fill(0)]);
    expect(machineOf(kernel)).toEqual({
      possible: 256,
      online: [0, 2],
      hypervisor: undefined,
      commandLine: undefined,
    });
  });
});

describe("the machine of kernels since 4.15", () => {
  const TYPES = new Map([
    ["X86_HYPER_NATIVE", 0n],
    ["X86_HYPER_XEN_PV", 3n],
    ["X86_HYPER_XEN_HVM", 4n],
  ]);

  function named(type: number, pvh: number | undefined): string | undefined {
    const symbols = { x86_hyper_type: 0x1400000, ...(pvh === undefined ? {} : { xen_pvh: 0x1500000 }) };
    const fake = fakeKernel({ symbols });
    fake.memory.put32(at(0x1400000), type).put(at(0x1500000), [pvh ?? 0]);
    return machineOf(Object.assign(fake, { types: { ...fake.types, enumerators: () => TYPES } })).hypervisor;
  }

  it("tells a PVH guest of Xen from an HVM one, both of which the kernel calls HVM", () => {
    expect(named(4, 0)).toBe("Xen HVM");
    expect(named(4, 1)).toBe("Xen PVH");
    expect(named(4, undefined)).toBe("Xen HVM");
    expect(named(3, 1)).toBe("Xen PV");
  });
});
