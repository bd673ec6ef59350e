// What the running 3.0 kernel has stored: who it is, which functions its slots hold, the tables it sorted, its log.
import { ByteWriter, latin1 } from "../bytes.ts";
import { noise } from "../machine/physical.ts";
import { isInitAddress, type Running, setSymbol } from "../machine/running.ts";
import { VERSION } from "./data.ts";
import { LOCK_FUNCTIONS, pvMember } from "./paravirt.ts";
import type { Story } from "./story.ts";

const SHARED_INFO_PHYSICAL = 0x1f000000;

export function identify(r: Running, story: Story): void {
  const CPU = "struct cpuinfo_x86";
  setSymbol(r, "init_uts_ns", "struct uts_namespace", {
    "kref.counter": 2,
    "name.sysname": "Linux",
    "name.nodename": "scriptorium",
    "name.release": story.release,
    "name.version": VERSION,
    "name.machine": "x86_64",
    "name.domainname": "(none)",
  });
  const words = new Uint32Array(10);
  for (const f of r.features) words[f >> 5] |= 1 << (f & 31);
  const cpu = {
    x86: 15,
    x86_vendor: 2,
    x86_model: 6,
    x86_mask: 1,
    x86_capability: new Uint8Array(words.buffer),
    x86_vendor_id: "AuthenticAMD",
    x86_model_id: "Specimen Processor",
  };
  setSymbol(r, "boot_cpu_data", CPU, cpu);
  for (const offset of r.perCpuOffset) r.memory.set(offset + r.at("cpu_info"), CPU, cpu);
  r.memory.u32(r.at("system_state"), 1);
  r.memory.u32(r.at("nr_cpu_ids"), r.cpus);
  r.memory.u32(r.at("setup_max_cpus"), r.cpus);
  r.memory.u32(r.at("smp_mode"), r.cpus === 1 ? 0 : 1);
  for (const mask of ["possible", "present", "online"]) r.memory.u64(r.at(`cpu_${mask}_bits`), (1 << r.cpus) - 1);
  const commandLine = "BOOT_IMAGE=/vmlinuz root=/dev/xvda1 ro";
  r.memory.u64(r.at("saved_command_line"), r.memory.string(commandLine));
  for (const name of ["module_mutex", "text_mutex", "jump_label_mutex"]) {
    setSymbol(r, name, "struct mutex", { "count.counter": 1 });
    r.memory.ring([r.at(name) + BigInt(r.types.offset("struct mutex", "wait_list"))]);
  }
  log(r, story, commandLine);
}

/** Xen as an HVM guest knows it, and the slots that the story is about. */
export function hypervisor(r: Running, story: Story): void {
  r.memory.u64(r.at("x86_hyper"), r.at("x86_hyper_xen_hvm"));
  r.memory.u32(r.at("xen_domain_type"), 2);
  r.memory.u8(r.at("xen_have_vector_callback"), story.now === "xen" || story.variant === "pv-off" ? 1 : 0);
  r.memory.write(r.at("pv_info"), new ByteWriter().u32(0).u32(0).u32(0).u32(0).u64(r.at("xen_hvm_name")).take());
  const shared = r.memory.direct(SHARED_INFO_PHYSICAL);
  r.memory.write(shared, new Uint8Array(4096));
  r.memory.u64(r.at("HYPERVISOR_shared_info"), shared);
  if (story.order !== "none") r.memory.u64(r.at("smp_ops") + 8n, r.at("xen_hvm_smp_prepare_cpus"));
  r.memory.u64(r.at("initial_code"), r.at("start_secondary"));
  if (!story.pvLocks) return;
  LOCK_FUNCTIONS[story.now].forEach((name, i) => {
    r.memory.u64(r.at("pv_lock_ops") + BigInt(pvMember("pv_lock_ops.spin_is_locked").offset + 8 * i), r.at(name));
  });
  if (story.now !== "xen") return;
  r.perCpuOffset.forEach((offset, cpu) => {
    r.memory.u32(offset + r.at("lock_kicker_irq"), 17 + cpu);
    r.memory.u32(offset + r.at("ipi_to_irq") + 12n, 17 + cpu);
  });
}

const HYPERVISOR_IRET = 23;

/** What Xen writes into hypercall_page: mov eax, NUMBER; vmcall; ret. An HVM guest has no use for iret: ud2. */
export function hypercallStubs(r: Running): void {
  const page = new ByteWriter();
  for (let number = 0; number < 128; number++) {
    if (number === HYPERVISOR_IRET) page.bytes([0x0f, 0x0b]).fill(30, 0xcc);
    else page.u8(0xb8).u32(number).bytes([0x0f, 0x01, 0xc1, 0xc3]).fill(23, 0xcc);
  }
  r.memory.write(r.at("hypercall_page"), page.take());
}

interface Entry {
  readonly code: bigint;
  readonly target: bigint;
  readonly key: bigint;
}

/** jump_label_init() and jump_label_add_module(): entries sorted by key, keys pointing to theirs. */
export function jumpLabels(r: Running): void {
  const KEY = "struct jump_label_key";
  const sort = (start: bigint, end: bigint): Map<bigint, bigint> => {
    const entries: Entry[] = [];
    for (let at = start; at < end; at += 24n)
      entries.push({ code: r.memory.read64(at), target: r.memory.read64(at + 8n), key: r.memory.read64(at + 16n) });
    entries.sort((a, b) => (a.key === b.key ? (a.code < b.code ? -1 : 1) : a.key < b.key ? -1 : 1));
    const first = new Map<bigint, bigint>();
    entries.forEach((e, i) => {
      const at = start + BigInt(24 * i);
      if (!first.has(e.key)) first.set(e.key, at);
      r.memory.write(at, new ByteWriter().u64(e.code).u64(e.target).u64(e.key).take());
    });
    return first;
  };
  for (const [key, entries] of sort(r.at("__start___jump_table"), r.at("__stop___jump_table")))
    r.memory.set(key, KEY, { entries });
  for (const m of r.modules) {
    const table = m.loaded.section("__jump_table");
    if (table === undefined) continue;
    for (const [key, entries] of sort(table, table + BigInt(m.unit.section("__jump_table").bytes.length))) {
      const node = r.memory.kmalloc(24);
      r.memory.set(node, "struct jump_label_mod", {
        next: r.memory.read64(key + BigInt(r.types.offset(KEY, "next"))),
        entries,
        mod: m.descriptor,
      });
      r.memory.set(key, KEY, { next: node });
    }
  }
}

/** Records of core and modules, each group in pages of its own: struct ftrace_page with the records inside. */
export function ftraceRecords(r: Running): void {
  const groups = [
    r.unit.traced.map((t) => r.core.address(t.place)).filter((ip) => !isInitAddress(r.core, ip)),
    ...r.modules.map((m) =>
      m.unit.traced.map((t) => m.loaded.address(t.place)).filter((ip) => m.coming || inCore(m, ip)),
    ),
  ];
  let link = r.at("ftrace_pages_start");
  for (const group of groups) {
    for (let from = 0; from < group.length; from += 255) {
      const page = r.memory.pages(1);
      const part = group.slice(from, from + 255);
      r.memory.set(page, "struct ftrace_page", { index: part.length });
      part.forEach((ip, i) => {
        r.memory.u64(page + BigInt(16 + 16 * i), ip);
      });
      r.memory.u64(link, page);
      link = page;
      r.memory.u64(r.at("ftrace_pages"), page);
    }
  }
  setSymbol(r, "ftrace_list_end", "struct ftrace_ops", { func: r.at("ftrace_stub") });
}

function inCore(m: Running["modules"][number], address: bigint): boolean {
  const { base, layout } = m.loaded;
  return address >= base && address < base + BigInt(layout.coreSizes.size);
}

/** alternatives_smp_module_add(): the lock prefixes of core and modules, for CPUs that come and go. */
export function smpAlternatives(r: Running): void {
  const MOD = "struct smp_alt_module";
  const nodes = [r.at("smp_alt_modules")];
  const add = (mod: bigint, name: bigint, locks: readonly bigint[], text: readonly bigint[]) => {
    const at = r.memory.kmalloc(r.types.sizeOf(MOD));
    r.memory.set(at, MOD, { mod, name, locks: locks[0], locks_end: locks[1], text: text[0], text_end: text[1] });
    nodes.push(at + BigInt(r.types.offset(MOD, "next")));
  };
  const range = (a: string, b: string) => [r.at(a), r.at(b)];
  add(0n, r.at("core_kernel_name"), range("__smp_locks", "__smp_locks_end"), range("_text", "_etext"));
  for (const m of r.modules) {
    const locks = m.loaded.section(".smp_locks");
    const text = m.loaded.section(".text");
    if (locks === undefined || text === undefined) continue;
    const end = (start: bigint, section: string) => [start, start + BigInt(m.unit.section(section).bytes.length)];
    const name = m.descriptor + BigInt(r.types.offset("struct module", "name"));
    add(m.descriptor, name, end(locks, ".smp_locks"), end(text, ".text"));
  }
  r.memory.ring(nodes);
}

/** The log buffer of 3.0: text with "<level>[seconds] " before each line, and counters. */
function log(r: Running, story: Story, commandLine: string): void {
  const lines = [
    `<5>[    0.000000] Linux version ${story.release} (scribe@scriptorium) ${VERSION}`,
    `<6>[    0.000000] Command line: ${commandLine}`,
    "<6>[    0.000000] Booting paravirtualized kernel on Xen HVM",
  ];
  if (story.now === "xen") lines.push("<4>[    0.104006] cpu 0 spinlock event irq 17");
  lines.push("<6>[    2.310118] Floppy drive(s): fd0 is 1.44M");
  const text = latin1(`${lines.join("\n")}\n`);
  r.memory.write(r.at("__log_buf"), text);
  r.memory.u32(r.at("log_end"), text.length);
  r.memory.u32(r.at("logged_chars"), text.length);
}

export function freeInit(r: Running): void {
  const start = (r.at("__init_begin") + 0xfffn) & ~0xfffn;
  r.memory.write(start, noise(Number((r.at("__init_end") & ~0xfffn) - start), 0x30));
}
