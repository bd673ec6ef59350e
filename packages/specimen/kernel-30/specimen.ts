// The specimen of bug 838026: a 3.0 kernel as a Xen HVM guest that took floppy_lock with the ticket functions and
// released it with Xen's. With its variants: healthy, without paravirtual spinlocks, switched in time, and 2.6.38.
import { ByteWriter, toHex } from "../bytes.ts";
import { patchText, type TrueSite } from "../machine/boot-patcher.ts";
import { KERNEL_TABLES, loadCore } from "../machine/load-core.ts";
import { loadModules } from "../machine/load-modules.ts";
import { Ram } from "../machine/physical.ts";
import type { Running } from "../machine/running.ts";
import type { Machine } from "../object/unit.ts";
import { writeBtf } from "../types/btf-writer.ts";
import { type DumpFormat, writeDump } from "../writers/dump-formats.ts";
import { writeBzImage, writeVmlinux } from "../writers/vmlinux-writer.ts";
import { FEATURE } from "./code-kernel.ts";
import { buildCore } from "./core.ts";
import { BUILD_ID, banner } from "./data.ts";
import { FLOPPY_BASE, floppy } from "./floppy.ts";
import { describeModule, RULES } from "./module-30.ts";
import { parport } from "./module-unit.ts";
import type { LockSide } from "./paravirt.ts";
import { freeInit, ftraceRecords, hypercallStubs, hypervisor, identify, jumpLabels, smpAlternatives } from "./state.ts";
import { runCpus } from "./state-cpus.ts";
import { type Story, tell, type Variant } from "./story.ts";
import { types30 } from "./types.ts";

const PHYSICAL = 0x1000000;
const REGIONS = { direct: 0xffff880000000000n, vmalloc: 0xffffc90000000000n, modules: 0xffffffffa0000000n };
const PERCPU_PHYSICAL = 0x3f800000;
const PERCPU_SIZE = 0x2000;
/** What every 64-bit processor has, and what the alternatives of this kernel ask for. */
const FEATURES = [
  0,
  4,
  5,
  6,
  8,
  9,
  13,
  15,
  24,
  25,
  26,
  32 + 11,
  32 + 20,
  32 + 29,
  FEATURE.REP_GOOD,
  FEATURE.LFENCE_RDTSC,
];

export interface BugOptions {
  /** default "hung" */
  readonly variant?: Variant;
  /** default 2 */
  readonly cpus?: number;
  /** built for 256 CPUs: ticket locks have 16-bit halves; default false */
  readonly wide?: boolean;
  /** default "kdump": six megabytes of text, most of it never written, pack well */
  readonly format?: DumpFormat;
  /** The hypervisor's stubs are in hypercall_page; default false: the page is as built. */
  readonly hypercalls?: boolean;
  /** No module but floppy, which has not even come up in the hung variant; default false. */
  readonly alone?: boolean;
}

export interface BugTruth {
  readonly story: Story;
  readonly banner: string;
  readonly buildId: string;
  readonly cpus: number;
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly sites: readonly TrueSite[];
  readonly floppy: {
    readonly base: bigint;
    /** address of each of its symbols */
    readonly symbols: ReadonlyMap<string, bigint>;
  };
  /** floppy_lock: where it is and what it holds (hex text) */
  readonly lock: { readonly address: bigint; readonly bytes: string };
  /** implementation of each side, from the story */
  readonly sides: { readonly core: LockSide; readonly module: LockSide; readonly now: LockSide };
  /** sites patched from pv_lock_ops.spin_unlock and the like, by object and slot */
  readonly lockSites: ReadonlyMap<string, number>;
  /** for each CPU the functions on its stack, innermost first, and its ticket */
  readonly stacks: readonly { readonly functions: readonly string[]; readonly ticket?: number }[];
}

export interface BugSpecimen {
  readonly dump: Uint8Array;
  readonly vmlinuz: Uint8Array;
  readonly modules: ReadonlyMap<string, Uint8Array>;
  /** The structures of this kernel as a .BTF section, which the kernel itself does not have. */
  readonly btf: Uint8Array;
  readonly truth: BugTruth;
}

/** The lock word: tickets 0 to 2 were released by a store of 0 to the byte that is the ticket lock's head. */
function lockWord(story: Story, cpus: number): Uint8Array {
  const w = new ByteWriter();
  const [head, tail] = story.hung ? [0, 3 + cpus] : story.core === "xen" ? [0, 0] : [0x1c, 0x1c];
  return story.wide ? w.u16(head).u16(tail).take() : w.u8(head).u8(tail).u16(0).take();
}

/** Makes the bug's specimen; the same options always give the same bytes. */
export function makeBugSpecimen(options: BugOptions = {}): BugSpecimen {
  const cpus = options.cpus ?? 2;
  if (cpus < 1 || cpus > 2) throw new Error("the story is told for one CPU or two");
  const story = tell(options.variant ?? "hung", options.wide ?? false);
  const types = types30();
  const { unit, core } = buildCore(types, story);
  const ram = new Ram(0x10000000);
  const placement = { physical: PHYSICAL, regions: REGIONS, top: "init_level4_pgt", tables: KERNEL_TABLES };
  const memory = loadCore(ram, core, types, placement);
  const at = (name: string): bigint => core.address(unit.marks.get(name) ?? name);
  const features = new Set(cpus === 1 ? [...FEATURES, FEATURE.UP] : FEATURES);
  const machine: Machine = { cpus, has: (f) => features.has(f), address: at };
  const perCpuOffset = Array.from({ length: cpus }, (_, i) => REGIONS.direct + BigInt(PERCPU_PHYSICAL + i * 0x40000));
  const r: Running = { types, unit, core, memory, machine, cpus, features, modules: [], perCpuOffset, at };
  perCpuOffset.forEach((offset, cpu) => {
    const area = new Uint8Array(PERCPU_SIZE);
    area.set(core.section(".data..percpu").bytes);
    memory.write(offset, area);
    memory.u64(at("__per_cpu_offset") + BigInt(8 * cpu), offset);
  });
  identify(r, story);
  hypervisor(r, story);
  // The hung boot never gets out of insmod.
  const coming = story.hung ? ["floppy"] : [];
  const units = [...(options.alone ? [] : [parport(types, story)]), floppy(types, story)];
  const files = loadModules(r, units, {
    rules: RULES,
    percpu: 0x1000n,
    describe: describeModule,
    coming,
    places: new Map([["floppy", FLOPPY_BASE]]),
  });
  jumpLabels(r);
  const sites = patchText(r);
  ftraceRecords(r);
  smpAlternatives(r);
  const module = r.modules.find((m) => m.unit.name === "floppy")!;
  const lock = module.loaded.address("floppy_lock");
  memory.write(lock, lockWord(story, cpus));
  const running = runCpus(r, story, memory.space.root, lock);
  if (options.hypercalls) hypercallStubs(r);
  freeInit(r);
  const lockSites = new Map<string, number>();
  for (const s of sites.filter((x) => x.slot?.startsWith("pv_lock_ops."))) {
    const key = `${s.object} ${s.slot}`;
    lockSites.set(key, (lockSites.get(key) ?? 0) + 1);
  }
  return {
    dump: writeDump(options.format ?? "kdump", {
      ram,
      cpus: running.map((c) => c.state),
      vmcoreinfo: undefined,
      release: story.release,
      physBase: 0n,
      direct: REGIONS.direct,
      image: { start: BigInt(PHYSICAL), end: BigInt(memory.space.physical(at("_end") - 1n)) },
    }),
    vmlinuz: writeBzImage(writeVmlinux(core), new Uint8Array(), banner(story).slice("Linux version ".length).trim()),
    modules: files,
    btf: writeBtf(types),
    truth: {
      story,
      banner: banner(story),
      buildId: BUILD_ID,
      cpus,
      symbols: new Map([...core.symbols].map(([name, s]) => [name, s.address])),
      sites,
      floppy: {
        base: module.loaded.base,
        symbols: new Map([...module.unit.symbols.keys()].map((name) => [name, module.loaded.address(name)])),
      },
      lock: { address: lock, bytes: toHex(lockWord(story, cpus)) },
      sides: { core: story.core, module: story.module, now: story.now },
      lockSites,
      stacks: running.map((c) => ({ functions: c.stack, ticket: c.ticket })),
    },
  };
}
