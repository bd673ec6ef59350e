// The modern specimen: a kernel of the 6.1 shape, booted, with two modules, dumped while idle.
import { hex, toHex } from "../bytes.ts";
import { patchText, type TrueSite } from "../machine/boot-patcher.ts";
import { KERNEL_TABLES, loadCore, processRoot } from "../machine/load-core.ts";
import { loadModules } from "../machine/load-modules.ts";
import { Ram } from "../machine/physical.ts";
import type { Running } from "../machine/running.ts";
import type { Machine } from "../object/unit.ts";
import { type DumpFormat, writeDump } from "../writers/dump-formats.ts";
import { writeBzImage, writeRelocations, writeVmlinux } from "../writers/vmlinux-writer.ts";
import { buildCore, LINK_BASE } from "./core.ts";
import { BANNER, BUILD_ID, RELEASE } from "./data.ts";
import { featureSet } from "./features.ts";
import { quire, vellum } from "./modules.ts";
import { freeInit, identify } from "./state-core.ts";
import { idleCpus } from "./state-cpus.ts";
import { describeModule, RULES } from "./state-modules.ts";
import { ftrace, kprobes, staticCalls, staticKeys } from "./state-patching.ts";
import { types6x } from "./types.ts";
import { vmcoreinfoText } from "./vmcoreinfo.ts";

const KASLR_OFFSET = 0x1e000000n;
const PHYSICAL = 0x5600000;
const REGIONS = { direct: 0xffff9a8240000000n, vmalloc: 0xffffb2c1c0000000n, modules: 0xffffffffc0185000n };
const PERCPU_PHYSICAL = 0x3e400000;
const PERCPU_SIZE = 0x2000;
/** Where the module's per-CPU data goes: behind the static area, as the reserved chunk is. */
const MODULE_PERCPU = 0x1200n;

export interface SpecimenOptions {
  /** default 2; with 1 the lock prefixes are patched out */
  readonly cpus?: number;
  /** retpolines and return thunks in use; default false: patched out */
  readonly mitigations?: boolean;
  /** an int3 kprobe on do_sys_openat2; default true */
  readonly probed?: boolean;
  /** default "elf" */
  readonly format?: DumpFormat;
  /** one site that contradicts its key and two overwritten bytes; default false */
  readonly tamper?: boolean;
}

/** A place that a reader must report. */
export interface TrueFinding {
  readonly id: "site.stale" | "text.foreign";
  readonly object: string;
  readonly address: bigint;
  readonly length: number;
  readonly symbol: string;
  readonly found: string;
}

export interface SpecimenTruth {
  readonly release: string;
  readonly banner: string;
  readonly buildId: string;
  readonly kaslrOffset: bigint;
  readonly physBase: bigint;
  readonly cpus: number;
  /** core symbols at their runtime addresses (per-CPU ones as they are) */
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly modules: readonly {
    readonly name: string;
    readonly base: bigint;
    readonly size: number;
    readonly sections: ReadonlyMap<string, bigint>;
  }[];
  readonly sites: readonly TrueSite[];
  readonly findings: readonly TrueFinding[];
  /** for each CPU the functions on its stack, innermost first */
  readonly stacks: readonly (readonly string[])[];
}

export interface Specimen {
  /** in the format asked for */
  readonly dump: Uint8Array;
  /** a bzImage */
  readonly vmlinuz: Uint8Array;
  /** "vellum.ko" → its bytes */
  readonly modules: ReadonlyMap<string, Uint8Array>;
  readonly truth: SpecimenTruth;
}

function overwrite(r: Running): TrueFinding[] {
  const out: TrueFinding[] = [];
  const put = (id: TrueFinding["id"], object: string, symbol: string, address: bigint, bytes: string) => {
    r.memory.write(address, hex(bytes));
    out.push({ id, object, symbol, address, length: hex(bytes).length, found: toHex(hex(bytes)) });
  };
  // The jump of vfs_write's static branch taken out, while its key still says "on".
  put("site.stale", "vmlinux", "vfs_write+0x5", r.at("vfs_write") + 5n, "6690");
  // mov eax, edi → mov eax, esi
  put("text.foreign", "vmlinux", "register_chrdev_region+0x6", r.at("register_chrdev_region") + 6n, "f0");
  const module = r.modules.find((m) => m.unit.name === "quire")!;
  put("text.foreign", "quire", "quire_bind+0x5", module.loaded.address("quire_bind") + 5n, "90");
  return out;
}

/** Makes the specimen; the same options always give the same bytes. */
export function makeSpecimen(options: SpecimenOptions = {}): Specimen {
  const cpus = options.cpus ?? 2;
  const types = types6x();
  const features = featureSet({ mitigations: options.mitigations ?? false, cpus });
  const { unit, built, loaded } = buildCore(types, KASLR_OFFSET, { tracing: true, probed: options.probed ?? true });
  const ram = new Ram(0x10000000);
  const memory = loadCore(ram, loaded, types, {
    physical: PHYSICAL,
    regions: REGIONS,
    top: "init_top_pgt",
    tables: [...KERNEL_TABLES, ["level2_fixmap_pgt", 0xffffffffc0000000n, 2]],
  });
  const trampoline = memory.moduleAlloc(4096, 4096, 4096);
  const slots = memory.moduleAlloc(4096, 4096, 4096);
  const at = (name: string): bigint => {
    if (name === "ftrace_ops_trampoline") return trampoline;
    return loaded.address(unit.marks.get(name) ?? name);
  };
  const machine: Machine = { cpus, has: (f) => features.has(f), address: at };
  const perCpuOffset = Array.from({ length: cpus }, (_, i) => REGIONS.direct + BigInt(PERCPU_PHYSICAL + i * 0x200000));
  const r: Running = { types, unit, core: loaded, memory, machine, cpus, features, modules: [], perCpuOffset, at };
  perCpuOffset.forEach((offset, cpu) => {
    const area = new Uint8Array(PERCPU_SIZE);
    area.set(loaded.section(".data..percpu").bytes);
    memory.write(offset, area);
    memory.u64(at("__per_cpu_offset") + BigInt(8 * cpu), offset);
  });
  const physBase = BigInt(PHYSICAL) - (LINK_BASE + KASLR_OFFSET - 0xffffffff80000000n);
  identify(r, physBase, REGIONS);
  const files = loadModules(r, [vellum(types), quire(types)], {
    rules: RULES,
    percpu: MODULE_PERCPU,
    describe: describeModule,
  });
  staticKeys(r);
  staticCalls(r);
  const sites = patchText(r);
  ftrace(r);
  kprobes(r, slots);
  const root = processRoot(memory);
  const idle = idleCpus(r, [memory.space.root, root]);
  freeInit(r);
  const findings = options.tamper ? overwrite(r) : [];
  const dump = writeDump(options.format ?? "elf", {
    ram,
    cpus: idle.map((c) => c.state),
    vmcoreinfo: vmcoreinfoText(r, KASLR_OFFSET, physBase),
    release: RELEASE,
    physBase,
    direct: REGIONS.direct,
    image: { start: BigInt(PHYSICAL), end: BigInt(memory.space.physical(at("_end") - 1n)) },
  });
  return {
    dump,
    vmlinuz: writeBzImage(writeVmlinux(built), writeRelocations(built), BANNER.slice("Linux version ".length).trim()),
    modules: files,
    truth: {
      release: RELEASE,
      banner: BANNER,
      buildId: BUILD_ID,
      kaslrOffset: KASLR_OFFSET,
      physBase,
      cpus,
      symbols: new Map([...loaded.symbols].map(([name, s]) => [name, s.address])),
      modules: r.modules.map((m) => ({
        name: m.unit.name,
        base: m.loaded.base,
        size: m.loaded.layout.coreSizes.size,
        sections: new Map([...m.loaded.layout.core].map(([name, offset]) => [name, m.loaded.base + BigInt(offset)])),
      })),
      sites,
      findings,
      stacks: idle.map((c) => c.stack),
    },
  };
}
