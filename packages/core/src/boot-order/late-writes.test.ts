// The bug of 3.0 and its neighbours, each as a kernel of a few made-up functions.
import { describe, expect, test } from "vitest";
import { MissingError } from "../bytes/errors.ts";
import { BufferSource } from "../bytes/source.ts";
import { kernelImageOf } from "../image/kernel-image.ts";
import type { KernelImage } from "../image/types.ts";
import { elfSymbolTable } from "../symbols/elf-symbol-table.ts";
import { readElfSymbols } from "../symbols/elf-symbols.ts";
import { lateSlotWrites } from "./late-writes.ts";
import { bootOrder } from "./result.ts";
import {
  buildKernel,
  call,
  callSlot,
  callSlotAbsolute,
  code,
  test as compare,
  type Instruction,
  jump,
  jumpIf,
  type KernelSpec,
  lea,
  load,
  number,
  RET,
  store,
  storeRegister,
  take,
  UD2,
} from "./testing/build-kernel.ts";

const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;

/** The boot of 3.0: the slot of smp_ops that xen_hvm_smp_init() sets decides when lock_ops is written. */
function kernel(
  hook: "smp_ops" | "smp_ops+8",
  functions: Record<string, readonly Instruction[]> = {},
  rest: Partial<KernelSpec> = {},
): KernelSpec {
  return {
    functions: {
      x86_64_start_kernel: [call("start_kernel"), UD2],
      start_kernel: [call("setup_arch"), callSlot("smp_ops"), call("check_bugs"), call("rest_init"), UD2],
      setup_arch: [call("init_hypervisor_platform"), RET],
      // hypervisors[0]->init_platform(): through a pointer that only a structure holds
      init_hypervisor_platform: [load(RAX, "hypervisors"), code(0xff, 0x50, 0x08), RET],
      xen_hvm_guest_init: [call("xen_hvm_smp_init"), RET],
      xen_hvm_smp_init: [store(hook, "xen_hvm_smp_prepare"), RET],
      native_smp_prepare: [RET],
      check_bugs: [call("alternative_instructions"), RET],
      alternative_instructions: [take(RDI, "__parainstructions"), call("apply_paravirt"), RET],
      apply_paravirt: [RET],
      rest_init: [take(RDI, "kernel_init"), call("kernel_thread"), ".idle:", jump(".idle")],
      kernel_thread: [RET],
      kernel_init: [callSlot("smp_ops+8"), RET],
      xen_hvm_smp_prepare: [
        compare("xen_have_vector_callback"),
        jumpIf(".no"),
        call("xen_init_spinlocks"),
        ".no:",
        RET,
      ],
      xen_init_spinlocks: [store("lock_ops", "xen_spin_lock"), store("lock_ops+8", "xen_spin_unlock"), RET],
      xen_start_kernel: [call("xen_smp_init"), call("start_kernel"), UD2],
      xen_smp_init: [call("xen_init_spinlocks"), RET],
      _raw_spin_lock: [".site:", callSlotAbsolute("lock_ops"), RET],
      _raw_spin_unlock: [".site:", callSlot("lock_ops+8"), RET],
      ticket_spin_lock: [RET],
      ticket_spin_unlock: [RET],
      xen_spin_lock: [RET],
      xen_spin_unlock: [RET],
      ...functions,
    },
    data: {
      smp_ops: ["native_smp_prepare", "native_smp_prepare"],
      lock_ops: ["ticket_spin_lock", "ticket_spin_unlock"],
      hypervisors: ["x86_hyper_xen_hvm"],
      x86_hyper_xen_hvm: ["", "xen_hvm_guest_init"],
      xen_have_vector_callback: [""],
      spare: ["", "", "", ""],
    },
    paravirt: ["_raw_spin_lock.site", "_raw_spin_unlock.site"],
    ...rest,
  };
}

const late = (spec: KernelSpec) =>
  lateSlotWrites(buildKernel(spec)).map(({ entry, writer, slotName }) => `${entry}: ${writer} ${slotName}`);
const moments = (spec: KernelSpec) =>
  Object.fromEntries(
    bootOrder(buildKernel(spec), "test").tables.flatMap(({ writers }) =>
      writers.map((writer) => [writer.function, writer.boots.map(({ moment }) => moment).join(", ")]),
    ),
  );

describe("the bug of 3.0", () => {
  test("a write through smp_prepare_cpus comes after the patching, told with both ways", () => {
    const [first, second] = lateSlotWrites(buildKernel(kernel("smp_ops+8")));
    expect(first).toMatchObject({
      slot: 0xffffffff81800010n,
      sites: 1,
      entry: "native",
      writer: "xen_init_spinlocks",
      value: "xen_spin_lock",
      sameBefore: undefined,
      tests: [{ function: "xen_hvm_smp_prepare", variable: "xen_have_vector_callback" }],
    });
    expect(first.path.map((step) => [step.function, step.how, step.through, step.setBy])).toEqual([
      ["x86_64_start_kernel", "start", null, null],
      ["start_kernel", "call", null, null],
      ["rest_init", "call", null, null],
      ["kernel_init", "thread", null, null],
      ["xen_hvm_smp_prepare", "slot", "smp_ops+0x8", "xen_hvm_smp_init"],
      ["xen_init_spinlocks", "call", null, null],
    ]);
    expect(first.patchPath.map((step) => step.function)).toEqual([
      "x86_64_start_kernel",
      "start_kernel",
      "check_bugs",
      "alternative_instructions",
    ]);
    expect(first.setters.map(({ slot, path }) => [slot, path.map((step) => step.function)])).toEqual([
      [
        "smp_ops+0x8",
        [
          "x86_64_start_kernel",
          "start_kernel",
          "setup_arch",
          "init_hypervisor_platform",
          "xen_hvm_guest_init",
          "xen_hvm_smp_init",
        ],
      ],
    ]);
    expect(second).toMatchObject({ slot: 0xffffffff81800018n, value: "xen_spin_unlock" });
  });

  test("one finding for both slots, and the other entry told apart", () => {
    const { findings } = bootOrder(buildKernel(kernel("smp_ops+8")), "test");
    expect(findings.map(({ id, severity, title, entries }) => [id, severity, title, entries])).toEqual([
      [
        "boot.late-slot-write",
        "warning",
        "xen_init_spinlocks writes 2 slots of lock_ops after alternative_instructions has patched their 2 sites",
        ["native"],
      ],
    ]);
    expect(moments(kernel("smp_ops+8"))).toEqual({ xen_init_spinlocks: "after, before and after" });
  });

  test("the later order, through smp_prepare_boot_cpu, is clean", () => {
    expect(late(kernel("smp_ops"))).toEqual([]);
    expect(moments(kernel("smp_ops"))).toEqual({ xen_init_spinlocks: "before, before" });
  });

  test("nobody sets the slot: only the other entry writes", () => {
    const spec = kernel("smp_ops", { xen_hvm_smp_init: [RET] });
    expect(late(spec)).toEqual([]);
    expect(moments(spec)).toEqual({ xen_init_spinlocks: "not reached, before" });
  });

  test("a value that was stored before changes nothing", () => {
    const spec = kernel("smp_ops+8", {
      xen_hvm_smp_init: [
        store("lock_ops", "xen_spin_lock"),
        store("lock_ops+8", "xen_spin_unlock"),
        store("smp_ops+8", "xen_hvm_smp_prepare"),
        RET,
      ],
    });
    const { findings } = bootOrder(buildKernel(spec), "test");
    expect(findings.map(({ severity, notes }) => [severity, notes[0]])).toEqual([
      ["note", "xen_hvm_smp_init stores the same before the patching: nothing changes."],
    ]);
  });

  test("somebody else's same value is no excuse", () => {
    const spec = kernel("smp_ops+8", {
      setup_arch: [call("init_hypervisor_platform"), call("other_platform"), RET],
      other_platform: [store("lock_ops", "xen_spin_lock"), store("lock_ops+8", "xen_spin_unlock"), RET],
    });
    const { findings } = bootOrder(buildKernel(spec), "test");
    expect(findings.map(({ severity }) => severity)).toEqual(["warning"]);
  });

  test("a value that the code does not tell is late all the same", () => {
    const spec = kernel("smp_ops+8", {
      xen_init_spinlocks: [call("native_smp_prepare"), storeRegister("lock_ops", RAX), RET],
    });
    expect(lateSlotWrites(buildKernel(spec))).toMatchObject([{ writer: "xen_init_spinlocks", value: undefined }]);
  });
});

describe("the ways of a write", () => {
  const body = (...instructions: Instruction[]) => late(kernel("smp_ops+8", { xen_init_spinlocks: instructions }));
  const one = ["native: xen_init_spinlocks lock_ops"];
  const both = [...one, "native: xen_init_spinlocks lock_ops+0x8"];

  test.each([
    ["of a register", [lea(RAX, "xen_spin_lock"), storeRegister("lock_ops", RAX), RET], one],
    ["at a register", [lea(RAX, "lock_ops"), [[0x48, 0xc7, 0x00], { absolute: "xen_spin_lock" }], RET], one],
    [
      "with a displacement",
      [take(RCX, "lock_ops"), [[0x48, 0xc7, 0x41, 0x00], { absolute: "xen_spin_lock" }], RET],
      one,
    ],
    ["by rep movsq", [take(RDI, "lock_ops"), take(RSI, "xen_ops"), number(RCX, 2), code(0xf3, 0x48, 0xa5), RET], both],
    ["by memcpy()", [take(RDI, "lock_ops"), take(RSI, "xen_ops"), number(2, 16), call("memcpy"), RET], both],
    ["to another place", [store("spare", "xen_spin_lock"), RET], []],
    [
      "after a merge of ways",
      [lea(RAX, "spare"), jumpIf(".x"), ".x:", [[0x48, 0xc7, 0x00], { absolute: "spare" }], RET],
      [],
    ],
  ] satisfies [string, Instruction[], string[]][])("%s", (_name, instructions, expected) => {
    const spec = kernel("smp_ops+8", { xen_init_spinlocks: instructions, memcpy: [RET] });
    const data = { ...spec.data, xen_ops: ["xen_spin_lock", "xen_spin_unlock"] };
    expect(late({ ...spec, data })).toEqual(expected);
  });

  test("a comparison is none", () => {
    expect(body(code(0x48, 0x83, 0x3d, 0, 0, 0, 0, 0), RET)).toEqual([]);
  });
});

describe("the ways through the boot", () => {
  test("a retpoline's register is the slot that was loaded", () => {
    const spec = kernel("smp_ops+8", {
      kernel_init: [load(RAX, "smp_ops+8"), call("__x86_indirect_thunk_rax"), RET],
      __x86_indirect_thunk_rax: [code(0xff, 0xe0)],
    });
    expect(late(spec)).toHaveLength(2);
  });

  test("calls that stand behind the patching in the code but run before it", () => {
    const spec = kernel("smp_ops+8", {
      start_kernel: [
        jump(".first"),
        ".then:",
        call("check_bugs"),
        call("rest_init"),
        // out of line: what follows a call that never returns is not what runs after it
        ".first:",
        call("setup_arch"),
        call("xen_init_spinlocks"),
        jump(".then"),
      ],
    });
    expect(late(spec)).toEqual([]);
    expect(moments(spec).xen_init_spinlocks).toBe("before and after, before and after");
  });

  test("both ways of a jump label", () => {
    const spec = kernel("smp_ops", {
      xen_hvm_smp_init: [RET],
      start_kernel: [
        call("check_bugs"),
        code(0x0f, 0x1f, 0x44, 0, 0),
        ".back:",
        call("rest_init"),
        UD2,
        call("xen_init_spinlocks"),
        jump(".back"),
      ],
    });
    const words = new Uint8Array(24);
    const view = new DataView(words.buffer);
    const start = addressOf(buildKernel(spec), "start_kernel") + 0x80000000;
    const at = (offset: number) => 0xffffffff00000000n + BigInt(start + offset);
    view.setBigUint64(0, at(5), true);
    view.setBigUint64(8, at(17), true);
    const table = { name: "__jump_table", flags: 2, address: 0xffffffff81a00000n, bytes: words };
    expect(moments({ ...spec, sections: [table] }).xen_init_spinlocks).toBe("after, before and after");
    expect(moments(spec).xen_init_spinlocks).toBe("not reached, before");
  });

  test.each(["pointers", "distances"])("initcalls, as %s", (form) => {
    const base = kernel("smp_ops", {
      kernel_init: [take(RAX, "__initcall_start"), call("do_one_initcall"), RET],
      do_one_initcall: [code(0xff, 0xd7), RET],
      first_init: [RET],
      late_init: [call("xen_init_spinlocks"), RET],
      xen_hvm_smp_init: [RET],
    });
    const calls = ["first_init", "late_init"];
    if (form === "pointers") {
      const spec = { ...base, data: { ...base.data, __initcall_start: [...calls, "__initcall_end:"] } };
      expect(late(spec)).toHaveLength(2);
      return;
    }
    // The table's address is known beforehand: behind all other data.
    const before = Object.values(base.data ?? {}).flat().length;
    const table = 0x1800000 + before * 8;
    const names = Object.keys(base.functions);
    const image = buildKernel({ ...base, data: { ...base.data, __initcall_start: ["", "__initcall_end:"] } });
    const symbols = new Map(names.map((name) => [name, addressOf(image, name)]));
    const data = image.elf.section(".data");
    const bytes = data && image.elf.bytes(data);
    const view = bytes && new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (const [i, name] of calls.entries()) {
      view?.setInt32(before * 8 + i * 4, (symbols.get(name) ?? 0) - (table + i * 4), true);
    }
    expect(lateSlotWrites(image)).toHaveLength(2);
  });

  test("a function whose address is only passed on is told as a guess", () => {
    const spec = kernel("smp_ops", {
      xen_hvm_smp_init: [RET],
      kernel_init: [take(RDI, "xen_init_spinlocks"), call("on_each_cpu"), RET],
      on_each_cpu: [code(0xff, 0xd7), RET],
    });
    const { findings } = bootOrder(buildKernel(spec), "test");
    expect(findings[0].path.at(-1)).toMatchObject({ function: "xen_init_spinlocks", how: "address" });
    expect(findings[0].notes).toContain(
      "A call of xen_init_spinlocks was not seen there, only that its address is at hand.",
    );
  });

  test("direct calls among the alternatives (6.8)", () => {
    const spec = kernel("smp_ops+8", {
      alternative_instructions: [take(RDI, "__alt_instructions"), call("apply_paravirt"), RET],
    });
    const modern = { ...spec, paravirt: undefined, directCalls: ["_raw_spin_unlock.site"] };
    expect(late(modern)).toEqual(["native: xen_init_spinlocks lock_ops+0x8"]);
  });
});

describe("what cannot be told", () => {
  test("an image without symbols", () => {
    const image = buildKernel({ ...kernel("smp_ops"), symbols: false });
    expect(() => lateSlotWrites(image)).toThrow(MissingError);
    expect(() => lateSlotWrites(image)).toThrow(
      "a symbol table in vmlinux is missing; it needs CONFIG_KALLSYMS or the ELF symbols of the unstripped vmlinux",
    );
  });

  test("a kernel that patches no slots", () => {
    const result = bootOrder(
      buildKernel({ ...kernel("smp_ops+8"), paravirt: undefined, functions: { f: [RET] }, data: {} }),
      "test",
    );
    expect([result.tables, result.findings]).toEqual([[], []]);
    expect(result.notes).toEqual([
      "This kernel has no table of patched calls through slots: it was built without CONFIG_PARAVIRT.",
    ]);
  });

  test("a boot that never comes to the patching", () => {
    const result = bootOrder(buildKernel(kernel("smp_ops+8", { check_bugs: [RET] })), "test");
    expect(result.tables[0].boots.map(({ patchPath }) => patchPath)).toEqual([null, null]);
    expect(result.notes).toContain("native: no way leads to a function that takes the address of .parainstructions.");
    expect(result.findings).toEqual([]);
  });

  test("tables that point nowhere are counted and left out", () => {
    const spec = kernel("smp_ops+8", { nowhere: [RET] });
    const result = bootOrder(buildKernel({ ...spec, paravirt: ["nowhere", "_raw_spin_lock.site", "spare"] }), "test");
    expect(result.tables[0]).toMatchObject({ sites: 1, slots: 1, others: 2 });
  });

  test("damaged images end in an answer or in an error that says where", () => {
    const image = buildKernel(kernel("smp_ops+8"));
    const whole = image.elf.source.read(0, image.elf.source.size).slice();
    const text = image.elf.section(".text");
    for (let seed = 1; seed <= 40; seed++) {
      const bytes = whole.slice();
      for (let i = 0, x = seed; i < 60; i++) {
        x = (x * 1103515245 + 12345) & 0x7fffffff;
        bytes[(text?.offset ?? 0) + (x % (text?.size ?? 1))] = x >> 8;
      }
      expect(lateSlotWrites(imageOf(bytes))).toBeInstanceOf(Array);
    }
  });
});

function imageOf(bytes: Uint8Array): KernelImage {
  return kernelImageOf("vmlinux", { container: "vmlinux", elf: new BufferSource("vmlinux", bytes) });
}

/** KernelOffset of a symbol. */
function addressOf(image: KernelImage, name: string): number {
  const symbol = elfSymbolTable(readElfSymbols(image.elf.source, image.elf.sections)!, image.elf.sections).lookup(name);
  return Number(symbol!.address - 0xffffffff80000000n);
}
