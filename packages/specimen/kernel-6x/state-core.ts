// What a booted 6.1 kernel has stored about itself: identification, CPU features, its log, and the page allocator's
// leavings where init memory was.
import type { Regions } from "../machine/memory-image.ts";
import { noise, PAGE } from "../machine/physical.ts";
import { type Running, setSymbol } from "../machine/running.ts";
import { RELEASE, VERSION } from "./data.ts";
import { capabilityWords } from "./features.ts";
import { fillLog } from "./printk.ts";

export function identify(r: Running, physBase: bigint, regions: Regions): void {
  const CPU = "struct cpuinfo_x86";
  setSymbol(r, "init_uts_ns", "struct uts_namespace", {
    "name.sysname": "Linux",
    "name.nodename": "scriptorium",
    "name.release": RELEASE,
    "name.version": VERSION,
    "name.machine": "x86_64",
    "name.domainname": "(none)",
  });
  const words = capabilityWords(r.features);
  const cpu = {
    x86: 6,
    x86_vendor: 0,
    x86_model: 85,
    x86_stepping: 4,
    x86_capability: new Uint8Array(words.buffer),
    x86_vendor_id: "GenuineIntel",
    x86_model_id: "Specimen Processor",
  };
  setSymbol(r, "boot_cpu_data", CPU, cpu);
  for (const offset of r.perCpuOffset) r.memory.set(offset + r.at("cpu_info"), CPU, cpu);
  r.memory.u64(r.at("phys_base"), physBase);
  r.memory.u64(r.at("page_offset_base"), regions.direct);
  r.memory.u64(r.at("vmalloc_base"), regions.vmalloc);
  r.memory.u64(r.at("vmemmap_base"), 0xffffea0000000000n);
  r.memory.u32(r.at("nr_cpu_ids"), r.cpus);
  r.memory.u32(
    r.at("system_state"),
    r.types.enums.get("system_states")!.values.find(([n]) => n === "SYSTEM_RUNNING")![1],
  );
  r.memory.u8(r.at("uniproc_patched"), r.cpus === 1 ? 1 : 0);
  for (const mask of ["possible", "present", "online"]) r.memory.u64(r.at(`__cpu_${mask}_mask`), (1 << r.cpus) - 1);
  r.memory.u64(r.at("saved_command_line"), r.memory.string("BOOT_IMAGE=/vmlinuz root=/dev/vellum ro quiet"));
  r.memory.u64(r.at("initial_code"), r.at("start_secondary"));
  for (const name of ["module_mutex", "text_mutex"]) {
    const list = r.at(name) + BigInt(r.types.offset("struct mutex", "wait_list"));
    r.memory.ring([list]);
  }
  orcLookup(r);
  fillLog(r.memory, r.at("printk_rb_static"), [
    { nanoseconds: 0n, level: 5, text: `Linux version ${RELEASE} (scribe@scriptorium) ${VERSION}` },
    { nanoseconds: 0n, level: 6, text: "Command line: BOOT_IMAGE=/vmlinuz root=/dev/vellum ro quiet" },
    { nanoseconds: 41_000_000n, level: 6, text: "Booting paravirtualized kernel on bare hardware" },
    { nanoseconds: 1_204_000_000n, level: 6, text: "vellum: a clean sheet" },
    { nanoseconds: 1_310_500_000n, level: 4, text: "quire: bound to vellum" },
  ]);
}

/** unwind_init(): for each 256 bytes of text the index of the ORC entry that covers its start. */
function orcLookup(r: Running): void {
  const ip = r.core.section(".orc_unwind_ip");
  const view = new DataView(ip.bytes.buffer, ip.bytes.byteOffset);
  const targets = Array.from(
    { length: ip.size / 4 },
    (_, i) => ip.address + BigInt(4 * i + view.getInt32(4 * i, true)),
  );
  const start = r.at("_stext");
  const blocks = Number(r.at("orc_lookup_end") - r.at("orc_lookup")) / 4;
  for (let b = 0; b < blocks; b++) {
    const address = b === blocks - 1 ? r.at("_etext") : start + BigInt(256 * b);
    const index = targets.findLastIndex((t) => t <= address);
    r.memory.u32(r.at("orc_lookup") + BigInt(4 * b), Math.max(0, index));
  }
}

/** What the allocator's next users left where init memory and the alternatives' lock table were. */
export function freeInit(r: Running): void {
  const free = (from: bigint, to: bigint, seed: number) => {
    const start = (from + 0xfffn) & ~0xfffn;
    r.memory.write(start, noise(Number((to & ~0xfffn) - start), seed));
  };
  free(r.at("__init_begin"), r.at("__init_end"), 0x5eed1);
  if (r.cpus > 1) free(r.at("__smp_locks"), r.at("__smp_locks_end"), 0x5eed2);
  // The gap between text and read-only data is given back as well.
  r.memory.write((r.at("_etext") + 0xfffn) & ~0xfffn, noise(PAGE, 0x5eed3));
}
