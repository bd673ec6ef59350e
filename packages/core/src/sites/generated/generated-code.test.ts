import { describe, expect, it } from "vitest";
import type { KernelModule } from "../../kernel/modules/modules.ts";
import { FTRACE_SYMBOLS, FTRACE_TYPES, opsAt, putFtrace } from "../testing/fake-ftrace.ts";
import { at, type FakeKernel, type FakeTypes, fakeKernel, hex } from "../testing/fake-kernel.ts";
import { type GeneratedCode, generatedCode } from "./generated-code.ts";

const kinds = (kernel: FakeKernel, kind: string): GeneratedCode[] =>
  generatedCode(kernel, []).filter((each) => each.kind === kind);

describe("ftrace trampolines", () => {
  const CALLER = 0x1000000;
  const TRACER = 0x1100000;
  const TRAMPOLINE = 0x3000000;
  // push %rdi; mov function_trace_op(%rip),%rdx; call ftrace_stub; pop %rdi
  const template = "57 48 8b 15 00 00 00 01 e8 00 00 10 00 5f";
  const copy = (call: string, tail: string): Uint8Array =>
    Uint8Array.of(...hex(`57 48 8b 15 0b 00 00 00 ${call} 5f`), ...hex(tail), ...hex("00 00 20 84 ff ff ff ff"));
  const size = 14 + 5 + 8;

  function world(
    bytes: Uint8Array,
    features: readonly number[] = [],
    enabled = true,
    more: Readonly<Record<string, number>> = { __x86_return_thunk: 0x1200000 },
  ): FakeKernel {
    const kernel = fakeKernel({
      types: FTRACE_TYPES,
      features,
      symbols: {
        ...FTRACE_SYMBOLS,
        ftrace_caller: CALLER,
        ftrace_caller_op_ptr: CALLER + 1,
        ftrace_call: CALLER + 8,
        ftrace_caller_end: CALLER + 14,
        function_trace_call: TRACER,
        ftrace_ops_assist_func: TRACER + 0x100,
        ftrace_ops_recurs_func: TRACER + 0x180,
        ftrace_stub: TRACER + 0x200,
        my_ops: opsAt(0),
        ...more,
      },
    });
    const own = enabled ? { func: TRACER, flags: 1 } : { func: 0x1100200, flags: 0 };
    putFtrace(kernel, [], [{ ...own, trampoline: TRAMPOLINE, trampolineSize: size }]);
    kernel.memory.put(at(CALLER), hex(template)).put(at(TRAMPOLINE), bytes);
    return kernel;
  }
  // From the call's end at 0x300000d to the tracer at 0x1100000.
  const call = "e8 f3 ff 0f fe";

  it.each([
    ["a plain return, zeros behind", copy(call, "c3 cc 00 00 00"), undefined],
    ["a plain return, INT3 behind", copy(call, "c3 cc cc cc cc"), undefined],
    ["through ftrace_ops_assist_func", copy("e8 f3 00 10 fe", "c3 cc 00 00 00"), undefined],
    ["through ftrace_ops_recurs_func (up to 4.9)", copy("e8 73 01 10 fe", "c3 cc 00 00 00"), undefined],
    ["a call elsewhere", copy("e8 f4 ff 0f fe", "c3 cc 00 00 00"), "+0x9 holds f4, f3 is expected"],
    [
      "another instruction",
      Uint8Array.of(0x90, ...copy(call, "c3 cc 00 00 00").subarray(1)),
      "+0x0 holds 90, 57 is expected",
    ],
    ["what the memory held before behind the return", copy(call, "c3 cc 6d 65 6d"), undefined],
    ["no return", copy(call, "90 cc 00 00 00"), "+0xe holds 90, c3 is expected"],
  ])("%s", (_what, bytes, problem) => {
    const [found] = kinds(world(bytes), "ftrace-trampoline");
    expect(found).toMatchObject({ owner: "my_ops (function_trace_call)", size, checked: true });
    expect(found.problem).toBe(problem);
  });

  it.each([
    ["its last tracer", call, undefined],
    ["the middle of a function", "e8 f4 ff 0f fe", "+0x9 holds f4, f3 is expected"],
  ])("of a tracer that is off calls %s", (_what, bytes, problem) => {
    const [found] = kinds(world(copy(bytes, "c3 cc 00 00 00"), [], false), "ftrace-trampoline");
    expect(found.owner).toBe("my_ops (ftrace_stub)");
    expect(found.problem).toBe(problem);
  });

  it.each([
    ["ftrace_return (3.19)", "e9 ed ff 1f fe", { ftrace_return: 0x1200000 }, undefined],
    ["ftrace_epilogue (4.5)", "e9 ed ff 1f fe", { ftrace_epilogue: 0x1200000 }, undefined],
    ["elsewhere", "e9 ee ff 1f fe", { ftrace_return: 0x1200000 }, "+0xf holds ee, ed is expected"],
    ["nowhere", "e9 ee ff 1f fe", { ftrace_epilogue: 0x1200000 }, "+0xe holds e9, c3 is expected"],
  ])("ended in a jump to %s", (_what, tail, symbols, problem) => {
    const [found] = kinds(world(copy(call, tail), [], true, symbols), "ftrace-trampoline");
    expect(found.problem).toBe(problem);
  });

  it("ends in a jump to the return thunk where returns do", () => {
    const RETHUNK = 11 * 32 + 14;
    expect(kinds(world(copy(call, "e9 ed ff 1f fe"), [RETHUNK]), "ftrace-trampoline")[0].problem).toBeUndefined();
    expect(kinds(world(copy(call, "c3 cc 00 00 00"), [RETHUNK]), "ftrace-trampoline")[0].problem).toBe(
      "+0xe holds c3, e9 is expected",
    );
  });
});

describe("kprobe detours", () => {
  const PROBE = 0x2100000;
  const TABLE = 0x2000000;
  const TEXT = 0x1000000;
  const ENTRY = 0x1400000;
  const SLOT = 0x3000000;
  const types: FakeTypes = {
    "struct kprobe": {
      size: 112,
      members: {
        hlist: [0, 16],
        list: [16, 16],
        addr: [40, 8],
        pre_handler: [64, 8],
        opcode: [80, 1],
        flags: [104, 4],
      },
    },
    "struct optimized_kprobe": {
      size: 160,
      members: {
        kp: [0, 112],
        list: [112, 16],
        "optinsn.copied_insn": [128, 4],
        "optinsn.insn": [136, 8],
        "optinsn.size": [144, 8],
      },
    },
  };
  const label = (name: string): string => `optprobe_template_${name}`;

  function world(slot: string): FakeKernel {
    const kernel = fakeKernel({
      types,
      features: [9 * 32 + 20],
      symbols: {
        kprobe_table: TABLE,
        aggr_pre_handler: 0x1500000,
        optimized_callback: 0x1600000,
        vfs_read: TEXT,
        [label("entry")]: ENTRY,
        [label("clac")]: ENTRY,
        [label("val")]: ENTRY + 3,
        [label("call")]: ENTRY + 13,
        [label("end")]: ENTRY + 18,
      },
    });
    const { memory } = kernel;
    memory.put(at(TABLE), new Uint8Array(512)).put64(at(TABLE), at(PROBE)).put(at(PROBE), new Uint8Array(160));
    memory
      .put64(at(PROBE + 16), at(PROBE + 16))
      .put64(at(PROBE + 40), at(TEXT + 5))
      .put64(at(PROBE + 64), at(0x1500000));
    memory
      .put(at(PROBE + 80), [0x48])
      .put32(at(PROBE + 104), 4)
      .put(at(PROBE + 128), hex("8b 05 10 00"));
    memory.put64(at(PROBE + 136), at(SLOT)).put64(at(PROBE + 144), 7);
    memory.put(at(ENTRY), hex(`0f 1f 00 ${"0f 1f 44 00 00 ".repeat(3)}`)).put(at(SLOT), hex(slot));
    memory.put(at(TEXT + 5), hex("e9 f6 ff ff 01 00 00")); // the jump, and the end of `mov 0x10(%rip),%rax`
    return kernel;
  }
  const value = "48 bf 00 00 10 82 ff ff ff ff";
  const back = "e9 ee ff ff fd";

  it("is the template with the probe, the callback, the moved instruction and the way back", () => {
    const slot = `0f 01 ca ${value} e8 ee ff 5f fe 48 8b 05 03 00 00 fe ${back}`;
    expect(kinds(world(slot), "kprobe-detour")).toEqual([
      { kind: "kprobe-detour", owner: "kprobe at vfs_read+0x5", address: at(SLOT), size: 30, checked: true },
    ]);
  });

  it("tells the first byte that is not", () => {
    const slot = `0f 01 ca ${value} e8 ee ff 5f fe 48 8b 05 03 00 00 fe e9 ee ff ff fc`;
    expect(kinds(world(slot), "kprobe-detour")[0].problem).toBe("+0x1d holds fc, fd is expected");
  });
});

describe("BPF images", () => {
  const KSYM = 0x2000000;
  const HEAD = 0x2001000;
  const IMAGE = 0x3000000;
  const types: FakeTypes = {
    "struct bpf_ksym": {
      size: 200,
      members: { start: [0, 8], end: [8, 8], name: [16, 128], lnode: [144, 16], prog: [160, 1] },
    },
  };

  function world(code: string, program = 1): FakeKernel {
    const kernel = fakeKernel({ types, symbols: { bpf_kallsyms: HEAD, helper: 0x1000000, next: 0x1001000 } });
    const bytes = hex(code);
    const { memory } = kernel;
    memory
      .put64(at(HEAD), at(KSYM + 144))
      .put64(at(KSYM + 144), at(HEAD))
      .put(at(KSYM + 160), [program]);
    memory
      .put64(at(KSYM), at(IMAGE))
      .put64(at(KSYM + 8), at(IMAGE + bytes.length))
      .text(at(KSYM + 16), "bpf_prog_1_x");
    memory.put(at(IMAGE), bytes);
    return kernel;
  }

  it.each([
    ["a call of a helper", "55 e8 fa ff ff fd c9 c3", undefined],
    ["a call behind the entry of a function", "55 e8 ff ff ff fd c9 c3", undefined],
    ["a jump inside", "e9 01 00 00 00 90 c3", undefined],
    [
      "a call into the middle of a function",
      "55 e8 fa 00 00 fe c9 c3",
      "+0x1 leads to helper+0x100, which is no function's start",
    ],
    ["a jump out of the kernel", "e9 00 00 00 80", "+0x0 leads to outside the kernel, which is no function's start"],
  ])("%s", (_what, code, problem) => {
    expect(kinds(world(code), "bpf-program")[0]).toMatchObject({ owner: "bpf_prog_1_x", checked: true });
    expect(kinds(world(code), "bpf-program")[0].problem).toBe(problem);
  });

  it("does not believe an image that ends before it starts", () => {
    const kernel = world("c3");
    kernel.memory.put64(at(KSYM + 8), at(IMAGE - 1));
    const problems: string[] = [];
    expect(generatedCode(kernel, problems)).toEqual([]);
    expect(problems[0]).toMatch(/^the BPF image bpf_prog_1_x claims to reach from 0xffffffff83000000 to/);
  });
});

describe("ITS thunks of a module", () => {
  const PAGE = 0x3000000;
  it.each([
    ["as made", "ff e0 cc", undefined],
    ["with an extended register", "41 ff e3 cc", undefined],
    ["with something else", "ff e0 90", "+0x22 holds 90, cc is expected"],
  ])("%s", (_what, thunk, problem) => {
    const kernel = fakeKernel({
      types: { "struct module": { size: 64, members: { its_page_array: [0, 8], its_num_pages: [8, 4] } } },
      modules: [{ name: "loop", address: at(0x2000000) } as KernelModule],
    });
    const page = new Uint8Array(4096).fill(0xcc);
    page.set(hex(thunk), 0x20);
    kernel.memory.put64(at(0x2000000), at(0x2001000)).put32(at(0x2000008), 1).put64(at(0x2001000), at(PAGE));
    kernel.memory.put(at(PAGE), page);
    const [found] = kinds(kernel, "its-thunks");
    expect(found).toMatchObject({ owner: "loop", checked: true });
    expect(found.problem).toBe(problem);
  });
});
