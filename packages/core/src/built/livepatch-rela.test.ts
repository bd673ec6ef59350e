// Livepatch relocations: which symbol they mean, and when they stand.
import { describe, expect, it } from "vitest";
import type { KernelModule, ModuleState } from "../kernel/modules/modules.ts";
import { fakeKernel } from "../sites/testing/fake-kernel.ts";
import { type isLivepatchRela, livepatchRelas, livepatchState, livepatchSymbol } from "./livepatch-rela.ts";

const section = (name: string, type = 4, info = 1) =>
  ({ name, type, info, index: 9 }) as Parameters<typeof isLivepatchRela>[0];

describe("livepatchRelas", () => {
  it("are those of the section, by object", () => {
    const sections = [
      section(".rela.text"),
      section(".klp.rela.vmlinux..text"),
      section(".klp.rela.loop..text"),
      section(".klp.rela.vmlinux..data", 4, 2),
      section(".klp.rela.vmlinux..text", 1),
      section(".klp.rela.", 4, 1),
    ];
    const elf = { sections } as unknown as Parameters<typeof livepatchRelas>[0];
    const found = livepatchRelas(elf, { index: 1 } as Parameters<typeof livepatchRelas>[1]);
    expect(found.map((each) => each.object)).toEqual(["vmlinux", "loop"]);
  });
});

describe("livepatchSymbol", () => {
  const kernel = fakeKernel({ symbols: { show: 0x1000, "loop:show": 0x5000, "loop:add": 0x6000 } });
  it.each([
    [".klp.sym.vmlinux.show,0", "ffffffff80001000"],
    [".klp.sym.loop.show,1", "ffffffff80005000"],
    [".klp.sym.loop.show,2", undefined],
    [".klp.sym.vmlinux.add,0", undefined],
    [".klp.sym.loop.add", undefined],
    ["add", undefined],
  ])("%s", (name, address) => {
    expect(livepatchSymbol(kernel, name)?.toString(16)).toBe(address);
  });
});

describe("livepatchState", () => {
  const kernelWith = (state: ModuleState | undefined, clears: boolean) =>
    fakeKernel({
      symbols: clears ? { klp_clear_object_relocs: 0x1000 } : {},
      modules: state === undefined ? [] : [{ name: "loop", state } as KernelModule],
    });
  it.each([
    ["vmlinux", undefined, false, "applied"],
    ["loop", "live", false, "applied"],
    ["loop", "going", true, "unknown"],
    ["loop", undefined, true, "clear"],
    ["loop", undefined, false, "unknown"],
  ] as const)("%s, module %s, clearing %s: %s", (object, state, clears, expected) => {
    expect(livepatchState(kernelWith(state, clears), object)).toBe(expected);
  });
});
