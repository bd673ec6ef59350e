import { describe, expect, it } from "vitest";
import { at, type FakeContext, fakeContext, fakeKernel, fakeObject, hex } from "../testing/fake-kernel.ts";
import { applyBpfDispatchers } from "./bpf-dispatcher.ts";

const TEXT = 0x1000000;
const DISPATCHER = 0x2000000;
const IMAGE = 0x3000000;
const members = { func: [0, 8], num_progs: [8, 4], image: [16, 8], image_off: [24, 4], ksym: [32, 64] } as const;

function world(
  programs: number,
  offset: number,
  text: string,
  type: Record<string, readonly [number, number]> = members,
): FakeContext {
  const kernel = fakeKernel({
    types: { "struct bpf_dispatcher": { size: 96, members: type } },
    symbols: { bpf_dispatcher_xdp: DISPATCHER, bpf_dispatcher_xdp_func: TEXT },
  });
  kernel.memory.put64(at(DISPATCHER), at(TEXT)).put32(at(DISPATCHER + 8), programs);
  kernel.memory.put64(at(DISPATCHER + 16), at(IMAGE)).put32(at(DISPATCHER + 24), offset);
  return fakeContext(kernel, fakeObject([{ name: ".text", start: TEXT, bytes: hex(text), text: true }]));
}

describe("BPF dispatchers", () => {
  it.each([
    ["no program", 0, 0, "0f 1f 44 00 00 ff e7", "0f 1f 44 00 00 ff e7"],
    ["one program", 1, 0, "0f 1f 44 00 00 ff e7", "e9 fb ff ff 01 ff e7"],
    ["the other half of the image", 2, 0x800, "0f 1f 44 00 00 ff e7", "e9 fb 07 00 02 ff e7"],
    ["behind ENDBR", 1, 0, "f3 0f 1e fa 0f 1f 44 00 00", "f3 0f 1e fa e9 f7 ff ff 01"],
  ])("%s", (_what, programs, offset, built, intended) => {
    const context = world(programs, offset, built);
    applyBpfDispatchers(context);
    expect(context.intended(TEXT, hex(built).length)).toBe(intended);
  });

  it("is a static call since 6.1", () => {
    const context = world(1, 0, "0f 1f 44 00 00", { ...members, sc_key: [88, 8] });
    expect(applyBpfDispatchers(context)).toBeUndefined();
  });
});
