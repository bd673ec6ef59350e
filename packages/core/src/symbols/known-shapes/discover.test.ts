import { describe, expect, it } from "vitest";
import { virtualAddress } from "../../bytes/brand.ts";
import { arraySymbolTable } from "../array-symbols.ts";
import { FixtureMemory } from "../testing/build-memory.ts";
import { discoverTypes } from "./discover.ts";
import { align } from "./paravirt-shapes.ts";

const DATA = 0xffffffff81600000n;
const TEXT = 0xffffffff81000000n;
const HEAP = 0xffff880000000000n;

class Machine {
  readonly memory = new FixtureMemory();
  private readonly symbols: { name: string; address: bigint }[] = [];
  private functions = 0;

  name(name: string, address: bigint): this {
    this.symbols.push({ name, address });
    return this;
  }
  /** A variable that holds functions of these names; "" for NULL. */
  slots(variable: string, address: bigint, names: readonly string[]): this {
    this.name(variable, address).name(`${variable}_end`, address + BigInt(names.length * 8));
    names.forEach((name, i) => {
      const known = this.symbols.find((symbol) => symbol.name === name);
      const target = name === "" ? 0n : (known?.address ?? TEXT + 0x1000n + BigInt(++this.functions * 16));
      if (known === undefined && name !== "") this.name(name, target);
      this.memory.u64(address + BigInt(i * 8), target);
    });
    return this;
  }
  discover() {
    const symbols = arraySymbolTable(
      this.symbols.map(({ name, address }) => ({ name, address: virtualAddress(address), type: "D" })),
    );
    return discoverTypes({ reader: this.memory, symbols });
  }
}

const irq = ["save_fl", "restore_fl", "irq_disable", "irq_enable"].map((n) => `__raw_callee_save_native_${n}`);

describe("pv_*_ops", () => {
  it("are laid out by the functions in them, whatever implementation they are of", () => {
    const types = new Machine()
      .slots("pv_init_ops", DATA, ["native_patch"])
      .slots("pv_time_ops", DATA + 0x40n, ["native_sched_clock", ""])
      .slots("pv_irq_ops", DATA + 0x80n, [...irq, "native_safe_halt", "native_halt", "_paravirt_nop"])
      .slots("pv_lock_ops", DATA + 0x100n, [
        ...["xen_spin_is_locked", "xen_spin_is_contended", "xen_spin_lock", "xen_spin_lock_flags"],
        ...["xen_spin_trylock", "xen_spin_unlock", "", ""],
      ])
      .discover()?.types;
    expect(types?.sizeOf("struct pv_irq_ops")).toBe(56);
    expect(types?.member("struct pv_irq_ops", "adjust_exception_frame")?.offset).toBe(48);
    expect(types?.members("struct pv_time_ops")?.map((m) => m.name)).toEqual(["sched_clock", "get_tsc_khz"]);
    expect(types?.sizeOf("struct pv_lock_ops")).toBe(48);
    expect(types?.member("struct pv_lock_ops", "spin_unlock")?.offset).toBe(40);
    expect(types?.sizeOf("struct paravirt_patch_template")).toBeUndefined(); // cpu and mmu are not there
  });

  it.each([
    ["ticket locks of 3.12", ["_paravirt_nop", "_paravirt_nop"], ["lock_spinning", "unlock_kick"]],
    [
      "queued locks",
      ["native_queued_spin_lock_slowpath", "__raw_callee_save___native_queued_spin_unlock", "", ""],
      ["queued_spin_lock_slowpath", "queued_spin_unlock", "wait", "kick"],
    ],
  ])("tell %s", (_, slots, names) => {
    const types = new Machine().slots("pv_lock_ops", DATA, slots).discover()?.types;
    expect(types?.members("struct pv_lock_ops")?.map((m) => m.name)).toEqual(names);
  });

  it("leave absent members out where the functions around say so", () => {
    const list = [
      "read_tsc?",
      "read_pmc",
      "read_tscp?",
      "irq_enable_sysexit?",
      "usergs_sysret64",
      "usergs_sysret32?",
      "iret",
    ];
    const with_ = (slots: string[]) => align(slots, list)?.names.join(" ");
    expect(
      with_([
        "native_read_tsc",
        "native_read_pmc",
        "native_read_tscp",
        "",
        "native_usergs_sysret64",
        "",
        "native_iret",
      ]),
    ).toBe(list.join(" ").replace(/\?/g, ""));
    expect(with_(["native_read_pmc", "native_usergs_sysret64", "native_iret"])).toBe("read_pmc usergs_sysret64 iret");
    expect(with_(["native_read_pmc", "native_usergs_sysret64", "", "native_iret", ""])).toBe(
      "read_pmc usergs_sysret64 usergs_sysret32 iret",
    );
    expect(with_(["native_read_pmc"])).toBeUndefined();
    // another variable of pointers behind the padding, where no symbol tells the structure's end
    const behind = ["", "", "swiotlb_map_page", "swiotlb_unmap_page"];
    expect(with_(["native_read_pmc", "native_usergs_sysret64", "native_iret", ...behind])).toBe(
      "read_pmc usergs_sysret64 iret",
    );
    expect(align([], ["patch"])).toBeUndefined();
  });
});

describe("cpuinfo_x86", () => {
  const machine = (capabilityAt: bigint, words: number) => {
    const m = new Machine().name("boot_cpu_data", DATA);
    m.memory.bytes(DATA, new Uint8Array(512)).u32(DATA + capabilityAt, 0x078bfbfd, 0x2193fbfd);
    m.memory.text(DATA + capabilityAt + BigInt(words * 4), "GenuineIntel");
    return m.discover()?.types;
  };
  it("finds the capability words before the vendor's name", () => {
    const old = machine(20n, 10);
    expect(old?.member("struct cpuinfo_x86", "x86_capability")).toEqual({
      offset: 20,
      size: 40,
      count: 10,
      typeName: "u32[10]",
    });
    expect(old?.member("struct cpuinfo_x86", "x86_vendor")?.offset).toBe(1);
    const recent = machine(48n, 24);
    expect(recent?.member("struct cpuinfo_x86", "x86_capability")?.count).toBe(24);
    expect(recent?.member("struct cpuinfo_x86", "x86_vendor")?.offset).toBe(2);
    expect(recent?.member("struct cpuinfo_x86", "x86_vendor_id")?.offset).toBe(144);
  });
  it("takes no name for it that has no capabilities before it", () => {
    const m = new Machine().name("boot_cpu_data", DATA);
    m.memory.bytes(DATA, new Uint8Array(512)).text(DATA + 60n, "GenuineIntel");
    expect(m.discover()).toBeUndefined();
  });
});

describe("ftrace", () => {
  it("knows records inside and outside their page", () => {
    const base = () =>
      new Machine()
        .name("_stext", TEXT)
        .name("_etext", TEXT + 0x100000n)
        .name("ftrace_pages_start", DATA);
    const inside = base();
    inside.memory.u64(DATA, HEAP).u64(HEAP, 0n, 2n, TEXT + 1n, 0n, TEXT + 0x50n, 0n);
    const old = inside.discover()?.types;
    expect(old?.member("struct ftrace_page", "records")).toMatchObject({
      offset: 16,
      typeName: "struct dyn_ftrace[0]",
    });
    const outside = base();
    outside.memory
      .u64(DATA, HEAP)
      .u64(HEAP, 0n, HEAP + 0x1000n, 2n)
      .u64(HEAP + 0x1000n, TEXT + 1n, 0n, TEXT + 80n, 0n);
    const recent = outside.discover()?.types;
    expect(recent?.member("struct ftrace_page", "records")).toMatchObject({
      offset: 8,
      typeName: "struct dyn_ftrace *",
    });
    expect(recent?.member("struct ftrace_page", "index")?.offset).toBe(16);
    const neither = base();
    neither.memory.u64(DATA, HEAP).u64(HEAP, 0n, 2n, 7n, 0n, 8n, 0n);
    expect(neither.discover()?.types.sizeOf("struct ftrace_page")).toBeUndefined();
  });

  it("finds the hashes of an ops, its own since 3.18", () => {
    const base = () =>
      new Machine()
        .name("ftrace_ops_list", DATA)
        .name("ftrace_list_end", DATA + 8n)
        .name("empty_hash", DATA + 16n)
        .name("global_ops", HEAP);
    const old = base();
    old.memory.u64(HEAP, TEXT, DATA + 8n, 0n, DATA + 16n, DATA + 16n, 0n, 0n, 0n);
    expect(old.discover()?.types.member("struct ftrace_ops", "filter_hash")?.offset).toBe(32);
    const recent = base();
    const own = [TEXT, DATA + 8n, 0n, 0n, 0n, DATA + 16n, DATA + 16n, 0n, HEAP + 40n, 0n];
    recent.memory.u64(HEAP, ...own);
    const types = recent.discover()?.types;
    expect(types?.member("struct ftrace_ops", "func_hash")?.offset).toBe(64);
    expect(types?.member("struct ftrace_ops", "trampoline")?.offset).toBe(64 + 8 + 24);
    expect(types?.member("struct ftrace_ops_hash", "filter_hash")?.offset).toBe(8);
  });
});

describe("task_struct and mutex", () => {
  it("finds the members that the list of tasks proves", () => {
    const m = new Machine();
    const tasks = [DATA, HEAP, HEAP + 0x2000n, HEAP + 0x4000n];
    m.name("init_task", DATA).name("after", DATA + 0x1000n);
    tasks.forEach((task, i) => {
      m.memory.bytes(task, new Uint8Array(0x1000)).text(task + 0x320n, ["swapper", "init", "kthreadd", "sh"][i]);
      const stack = HEAP + 0x10000n + BigInt(i) * 0x2000n;
      m.memory.u64(task + 8n, stack).u64(task + 0x358n, stack + 0x2000n, stack + 0x1f00n - BigInt(i * 64));
      m.memory.u32(task + 0x174n, i, i).u64(task + 0x200n, task + 0x200n, task + 0x200n); // an empty list of its own
    });
    m.memory.list(...tasks.map((task) => task + 0x100n));
    const found = m.discover();
    const at = (path: string) => found?.types.member("struct task_struct", path)?.offset;
    expect([at("comm"), at("tasks"), at("pid"), at("tgid")]).toEqual([0x320, 0x100, 0x174, 0x178]);
    expect([at("stack"), at("thread.sp")]).toEqual([8, 0x360]);
    expect(found?.evidence.join("\n")).toContain("leads through 3 named tasks back to init_task");
  });

  it.each([
    ["count", [1n, DATA + 8n, DATA + 8n]],
    ["owner", [0n, 0n, DATA + 16n, DATA + 16n]],
  ] as const)("tells a mutex with %s first", (member, words) => {
    const m = new Machine().name("text_mutex", DATA);
    m.memory.u64(DATA, ...words);
    const types = m.discover()?.types;
    expect(types?.member("struct mutex", member)?.offset).toBe(0);
    expect(types?.member("struct mutex", "wait_list")?.offset).toBe(words.length * 8 - 16);
  });
});

it("finds nothing where nothing is", () => {
  expect(new Machine().discover()).toBeUndefined();
  const names = ["modules", "boot_cpu_data", "pv_irq_ops", "ftrace_pages_start", "init_task", "text_mutex"];
  const m = new Machine();
  for (const [i, name] of names.entries()) m.name(name, DATA + BigInt(i) * 0x1000n);
  expect(m.discover()).toBeUndefined();
  for (const i of names.keys()) m.memory.bytes(DATA + BigInt(i) * 0x1000n, new Uint8Array(4096).fill(0xff));
  expect(m.discover()).toBeUndefined();
});
