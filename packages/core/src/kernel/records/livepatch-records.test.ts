// Livepatches out of the kernel's lists: order, state, damage.
import { describe, expect, it } from "vitest";
import { at, type FakeKernel, type FakeTypes, fakeKernel } from "../../sites/testing/fake-kernel.ts";
import type { KernelModule } from "../modules/modules.ts";
import { livepatches, livepatchOf } from "./livepatch-records.ts";

const HEAD = 0x2000000;
const PATCHES = [0x2001000, 0x2002000];
const OLD = 0x1000040;
const types: FakeTypes = {
  "struct klp_patch": { size: 64, members: { mod: [0, 8], list: [8, 16], obj_list: [24, 16], enabled: [40, 1] } },
  "struct klp_object": { size: 64, members: { name: [0, 8], func_list: [8, 16], node: [24, 16] } },
  "struct klp_func": {
    size: 64,
    members: {
      old_name: [0, 8],
      new_func: [8, 8],
      old_func: [16, 8],
      node: [24, 16],
      patched: [40, 1],
      transition: [41, 1],
    },
  },
};

/** Two patches of one function of the core; the second one also has one of a module. */
function world(given: FakeTypes = types): FakeKernel {
  const kernel = fakeKernel({
    types: given,
    symbols: { klp_patches: HEAD },
    modules: PATCHES.map((patch, i) => ({ name: `lp_${i}`, address: at(patch + 0x800) }) as KernelModule),
  });
  const { memory } = kernel;
  const link = (nodes: readonly number[]): void => {
    for (const [i, node] of nodes.entries()) {
      memory.put64(at(node), at(nodes[(i + 1) % nodes.length])).put64(at(node + 8), 0);
    }
  };
  memory.text(at(0x2000100), "show\0").text(at(0x2000110), "loop\0");
  link([HEAD, ...PATCHES.map((patch) => patch + 8)]);
  for (const [i, patch] of PATCHES.entries()) {
    const objects = i === 0 ? [patch + 0x100] : [patch + 0x100, patch + 0x200];
    memory.put64(at(patch), at(patch + 0x800)).put(at(patch + 40), [1]);
    link([patch + 24, ...objects.map((object) => object + 24)]);
    for (const [k, object] of objects.entries()) {
      const func = object + 0x40;
      memory.put64(at(object), k === 0 ? 0 : at(0x2000110));
      link([object + 8, func + 24]);
      memory
        .put64(at(func), at(0x2000100))
        .put64(at(func + 8), at(patch + 0x900))
        .put64(at(func + 16), k === 0 ? at(OLD) : 0);
      memory.put(at(func + 40), [k === 0 ? 1 : 0, 0]);
    }
  }
  return kernel;
}

describe("livepatches", () => {
  it("are read in the order in which they were enabled", () => {
    const problems: string[] = [];
    expect(livepatches(world(), problems)).toMatchObject([
      { module: "lp_0", enabled: true, functions: [{ object: "vmlinux", name: "show", old: at(OLD), patched: true }] },
      {
        module: "lp_1",
        functions: [
          { object: "vmlinux", replacement: at(PATCHES[1] + 0x900), transition: false },
          { object: "loop", old: 0n, patched: false },
        ],
      },
    ]);
    expect(problems).toEqual([]);
  });

  it("runs the replacement of the patch enabled last", () => {
    const kernel = world();
    expect(livepatchOf(kernel, at(OLD), [])).toMatchObject({ patch: { module: "lp_1" } });
    expect(livepatchOf(kernel, at(OLD + 4), [])).toBeUndefined();
  });

  it("is silent for a kernel without livepatch", () => {
    const problems: string[] = [];
    expect(livepatches(fakeKernel(), problems)).toEqual([]);
    expect(problems).toEqual([]);
  });

  it("says which layout is unknown when there are patches", () => {
    const { "struct klp_func": _, ...rest } = types;
    const problems: string[] = [];
    expect(livepatches(world(rest), problems)).toEqual([]);
    expect(problems).toEqual(["livepatches are loaded, and the layout of struct klp_func.node is unknown"]);
  });

  it("cuts a list that has a cycle", () => {
    const kernel = world();
    kernel.memory.put64(at(PATCHES[1] + 8), at(PATCHES[0] + 8));
    const problems: string[] = [];
    expect(livepatches(kernel, problems)).toHaveLength(2);
    expect(problems).toEqual(["klp_patches: a cycle after 2 entries"]);
  });

  it("tells a patch that cannot be read and keeps the others", () => {
    const kernel = world();
    kernel.memory.put64(at(PATCHES[0] + 24), at(0x7000000));
    const problems: string[] = [];
    expect(livepatches(kernel, problems).map((patch) => patch.functions.length)).toEqual([0, 2]);
    expect(problems[0]).toMatch(/^livepatch lp_0: its objects: /);
  });
});
