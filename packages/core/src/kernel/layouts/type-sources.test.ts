import { describe, expect, it } from "vitest";
import { fromKernelOffset } from "../../bytes/brand.ts";
import { FakeMemory } from "../../sites/testing/fake-memory.ts";
import { arraySymbolTable } from "../../symbols/array-symbols.ts";
import { ShapeTypes, type StructShape } from "../../symbols/known-shapes/shape-types.ts";
import { type GivenTypes, openTypes, type TypesContext } from "./type-sources.ts";

const CPU_DATA = fromKernelOffset(0x1400000);

/** A dump whose boot_cpu_data proves that the capability words lie at +20. */
function context(withCpuData = true): TypesContext {
  const memory = new FakeMemory().put(CPU_DATA, new Uint8Array(512));
  memory
    .put32(CPU_DATA + 20n, 0x078bfbfd)
    .put32(CPU_DATA + 24n, 0x2193fbfd)
    .text(CPU_DATA + 60n, "AuthenticAMD");
  const symbols = arraySymbolTable(withCpuData ? [{ name: "boot_cpu_data", address: CPU_DATA, type: "D" }] : []);
  return { memory, symbols, buildId: undefined, release: "3.0.1", version: "" };
}

function given(capabilityAt: number, proof?: string): GivenTypes {
  const shapes: StructShape[] = [
    { name: "struct cpuinfo_x86", size: 192, members: [["x86_capability", capabilityAt, "u32[10]"]] },
    { name: "struct task_struct", size: 2048, members: [["pid", 300, "int"]] },
  ];
  return { types: new ShapeTypes("DWARF of vmlinux", shapes), ...(proof === undefined ? {} : { proof }) };
}

describe("the sources of a kernel's layouts", () => {
  it("takes what the dump proves when nothing else is there, and says by what", () => {
    const { types, evidence } = openTypes(context(), undefined, []);
    expect(types.member("struct cpuinfo_x86", "x86_capability")?.offset).toBe(20);
    expect(evidence.join("\n")).toContain('layout: boot_cpu_data: "AuthenticAMD" at +60');
  });

  it("prefers debug information, and fills what it lacks", () => {
    const problems: string[] = [];
    const { types, evidence } = openTypes(context(), given(20), problems);
    expect(types.sizeOf("struct cpuinfo_x86")).toBe(192);
    expect(types.member("struct task_struct", "pid")?.offset).toBe(300);
    expect(types.member("struct list_head", "prev")?.offset).toBe(8);
    expect(types.sizeOf("struct ftrace_page")).toBeUndefined();
    expect(types.origin).toBe("DWARF of vmlinux; else what the dump itself proves");
    expect(evidence[0]).toBe("layouts: DWARF of vmlinux");
    expect(problems).toEqual([]);
  });

  it("refuses debug information that the dump contradicts", () => {
    expect(() => openTypes(context(), given(24), [])).toThrow(
      "DWARF of vmlinux: it contradicts the dump: struct cpuinfo_x86.x86_capability lies at +24 there, at +20 by what the dump holds",
    );
  });

  it("believes debug information of the same build-id, and tells the contradiction", () => {
    const problems: string[] = [];
    const { types, evidence } = openTypes(context(), given(24, "build-id 5a21"), problems);
    expect(types.member("struct cpuinfo_x86", "x86_capability")?.offset).toBe(24);
    expect(evidence[0]).toBe("layouts: DWARF of vmlinux (build-id 5a21)");
    expect(problems).toEqual([
      "DWARF of vmlinux: struct cpuinfo_x86.x86_capability lies at +24 there, at +20 by what the dump holds; the file is believed (build-id 5a21)",
    ]);
  });

  it("says what would help when nothing tells a layout", () => {
    expect(() => openTypes(context(false), undefined, [])).toThrow(
      "the layout of this kernel's structures (it has no BTF, and the dump proves none) is missing; give a vmlinux or module with debug information with --debug-info",
    );
  });
});
