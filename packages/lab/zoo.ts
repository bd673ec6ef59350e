// The zoo: kernels built from Debian's own sources with other configurations and compilers than Debian's, since what
// holds for Debian's kernels only is not known to hold. A table and nothing else; zoo-build.ts builds them.
import { type DumpOptions, defaultOptions } from "./dump-types.ts";
import { btf, type ConfigLine, fuller } from "./zoo-config.ts";

/** gcc of the named Debian, or clang 16 with LLVM's linker and tools. */
export type CompilerName = "gcc-bookworm" | "gcc-trixie" | "clang-16";

/** One boot of a kernel: what is special about it, by name. */
export interface ZooBoot {
  /** "2cpu", "2cpu-fineibt" */
  readonly name: string;
  readonly options: DumpOptions;
}

export interface ZooRow {
  /** "6.12-clang-cfi" */
  readonly name: string;
  readonly about: string;
  /** The series of its linux-source package: an alias of the lab's flavours. */
  readonly series: "5.10" | "6.1" | "6.12" | "7";
  readonly compiler: CompilerName;
  /** Over the base configuration. */
  readonly config: readonly ConfigLine[];
  /** Variables for `make`: "KCFLAGS=…". */
  readonly make: readonly string[];
  readonly boots: readonly ZooBoot[];
  /** The day of the week (0 is Sunday) on which .ci/run builds it; undefined where that would take too long. */
  readonly ciDay?: number;
}

type Given = Pick<ZooRow, "name" | "about" | "config"> &
  Partial<Pick<ZooRow, "compiler" | "make" | "ciDay">> & {
    readonly boots?: Readonly<Record<string, Partial<DumpOptions>>>;
  };

/** QEMU's firmware interface, which a kernel without ACPI does not find by itself. */
const firmware = "qemu_fw_cfg.ioport=12@0x510:0:1:4";

/** What every kernel of the zoo is given to load; what it has built in is missing there. */
const modules = ["qemu_fw_cfg", "floppy", "loop", "dm-mod", "ext2"];

const one = { cpus: 1 };
const two = { cpus: 2 };
const four = { cpus: 4 };
const everyNumber = { "1cpu": one, "2cpu": two, "4cpu": four };
/** With everything that rewrites code at run time on. */
const traced = { "2cpu-traced": { ...two, states: ["function", "kprobe"] as const } };

const uniprocessor: readonly ConfigLine[] = [...["SMP=n", "?NR_CPUS=1", "HOTPLUG_CPU=n", "PARAVIRT_SPINLOCKS=n"]];
const noParavirt: readonly ConfigLine[] = [
  ...["HYPERVISOR_GUEST=n", "PARAVIRT=n", "PARAVIRT_SPINLOCKS=n", "KVM_GUEST=n"],
];
const noTracer: readonly ConfigLine[] = [...["FUNCTION_TRACER=n", "DYNAMIC_FTRACE=n", "FTRACE=n", "KPROBE_EVENTS=n"]];
const noModules: readonly ConfigLine[] = [
  ...["MODULES=n", "MODULE_UNLOAD=n", "BLK_DEV_LOOP=y", "BLK_DEV_FD=y", "BLK_DEV_DM=y", "EXT2_FS=y"],
];
const lockDebugging: readonly ConfigLine[] = [
  ...["DEBUG_SPINLOCK=y", "DEBUG_MUTEXES=y", "?DEBUG_RWSEMS=y", "PROVE_LOCKING=y", "DEBUG_LOCK_ALLOC=y"],
];
const kcfi: readonly ConfigLine[] = ["X86_KERNEL_IBT=y", "CFI_CLANG|CFI=y"];
const thunks: readonly ConfigLine[] = [
  ...["MITIGATION_RETHUNK=y", "MITIGATION_UNRET_ENTRY=y", "MITIGATION_SRSO=y", "MITIGATION_CALL_DEPTH_TRACKING=y"],
  ...["MITIGATION_SLS=y", "?MITIGATION_ITS=y"],
];
const preempt = (model: string): readonly ConfigLine[] => ["PREEMPT_VOLUNTARY=n", `${model}=y`];

const tables: Readonly<Record<ZooRow["series"], readonly Given[]>> = {
  "5.10": [
    {
      name: "small",
      about: "-Os, no KALLSYMS_ALL, no BTF, PREEMPT_NONE",
      config: ["CC_OPTIMIZE_FOR_PERFORMANCE=n", "CC_OPTIMIZE_FOR_SIZE=y", "KALLSYMS_ALL=n", ...preempt("PREEMPT_NONE")],
      ciDay: 1,
    },
    {
      name: "up-no-paravirt",
      about: "UP, no paravirt, no tracer, no BTF",
      config: [...uniprocessor, ...noParavirt, ...noTracer],
      boots: { "1cpu": one },
    },
    {
      name: "preempt-1cpu",
      about: "PREEMPT, SMP with NR_CPUS 2, no BTF",
      config: ["NR_CPUS=2", ...preempt("PREEMPT")],
      boots: { "1cpu": one, "2cpu": two, ...traced },
    },
  ],
  "6.1": [
    { name: "up", about: "UP, no BTF", config: [...uniprocessor], boots: { "1cpu": one }, ciDay: 2 },
    {
      name: "lockdep",
      about: "DEBUG_SPINLOCK and lockdep, no BTF",
      config: lockDebugging,
      boots: everyNumber,
    },
    {
      name: "clang-cfi",
      about: "clang, IBT and kCFI, no return thunks, no BTF",
      compiler: "clang-16",
      config: [...kcfi, "RETHUNK=n"],
      boots: { ...everyNumber, "2cpu-cfi-off": { ...two, append: "cfi=off" } },
    },
    {
      name: "preempt-no-tracer",
      about: "PREEMPT, no paravirt, no tracer, NR_CPUS 8192, BTF",
      config: [...preempt("PREEMPT"), ...noParavirt, ...noTracer, ...btf, "MAXSMP=y", "?NR_CPUS=8192"],
      ciDay: 3,
    },
  ],
  "6.12": [
    {
      name: "clang-cfi",
      about: "clang, IBT, kCFI and FineIBT, retpolines, return thunks, call padding, BTF",
      compiler: "clang-16",
      config: [...fuller, ...kcfi, ...thunks, ...btf, "FINEIBT=y"],
      boots: {
        ...everyNumber,
        ...Object.fromEntries(
          ["off", "kcfi,norand", "kcfi", "fineibt"].flatMap((mode) => [
            [`1cpu-${mode}`, { ...one, append: `cfi=${mode}` }],
            [`2cpu-${mode}`, { ...two, append: `cfi=${mode}` }],
          ]),
        ),
        "2cpu-traced": { ...two, states: ["function"] },
        "2cpu-graph": { ...two, states: ["graph"], append: "cfi=fineibt" },
        "2cpu-mitigations-off": { ...two, append: "mitigations=off cfi=fineibt" },
        "2cpu-call-depth": {
          ...two,
          cpuModel: "Skylake-Server",
          append: "retbleed=stuff spectre_v2=retpoline cfi=fineibt",
        },
        "2cpu-milan": { ...two, cpuModel: "EPYC-Milan" },
        "2cpu-hotplug": { ...two, states: ["hotplug"], append: "nokaslr" },
      },
    },
    { name: "up", about: "UP, BTF", config: [...uniprocessor, ...btf], boots: { "1cpu": one } },
    {
      name: "functions-only",
      about: "no KALLSYMS_ALL, no BTF, PREEMPT_DYNAMIC",
      config: ["KALLSYMS_ALL=n", "PREEMPT_DYNAMIC=y", ...preempt("PREEMPT")],
      ciDay: 4,
    },
    { name: "no-modules", about: "no MODULES, -Os, no BTF", config: [...noModules, "CC_OPTIMIZE_FOR_SIZE=y"] },
    {
      name: "rt",
      about: "PREEMPT_RT, BTF",
      config: [...preempt("PREEMPT_RT"), ...btf],
    },
    {
      name: "function-sections",
      about: "modules with a section for each function, PREEMPT_NONE, no BTF",
      config: preempt("PREEMPT_NONE"),
      make: ["KBUILD_CFLAGS_MODULE=-DMODULE -ffunction-sections"],
      ciDay: 5,
    },
    {
      name: "kasan",
      about: "KASAN and DEBUG_SPINLOCK, no BTF",
      config: ["KASAN=y", "?KASAN_OUTLINE=y", "DEBUG_SPINLOCK=y"],
      boots: Object.fromEntries(
        Object.entries(everyNumber).map(([name, boot]) => [name, { ...boot, memoryMegabytes: 512 }]),
      ),
    },
    {
      name: "gcc14",
      about: "gcc of trixie, return thunks, call depth tracking, IBT, BTF",
      compiler: "gcc-trixie",
      config: [...thunks, "X86_KERNEL_IBT=y", "CPU_SUP_INTEL=y", ...btf],
      boots: {
        ...everyNumber,
        "2cpu-call-depth": {
          ...two,
          cpuModel: "Skylake-Server",
          append: "retbleed=stuff spectre_v2=retpoline",
        },
      },
    },
  ],
  "7": [
    {
      name: "up",
      about: "UP, no paravirt, no BTF",
      config: [...uniprocessor, ...noParavirt],
      boots: { "1cpu": one },
      ciDay: 6,
    },
    {
      name: "lazy-no-paravirt",
      about: "PREEMPT_LAZY, no paravirt, gcc of trixie, no BTF",
      compiler: "gcc-trixie",
      config: [...preempt("PREEMPT_LAZY"), ...noParavirt],
      ciDay: 0,
    },
    {
      name: "clang-cfi",
      about: "clang, IBT, kCFI and FineIBT, return thunks, BTF",
      compiler: "clang-16",
      config: [...kcfi, ...thunks, ...btf, "FINEIBT=y"],
      boots: {
        ...everyNumber,
        "2cpu-fineibt": { ...two, append: "cfi=fineibt" },
        "2cpu-off": { ...two, append: "cfi=off" },
      },
    },
  ],
};

function boot(name: string, options: Partial<DumpOptions>): ZooBoot {
  const append = [firmware, options.append ?? ""].join(" ").trim();
  return { name, options: { ...defaultOptions, modules, ...options, append } };
}

/** All rows, release by release. */
export const zoo: readonly ZooRow[] = (Object.keys(tables) as ZooRow["series"][])
  .sort((a, b) => Number(a === "5.10" ? 5 : a) - Number(b === "5.10" ? 5 : b))
  .flatMap((series) =>
    tables[series].map(({ name, about, config, compiler, make, boots, ciDay }) => ({
      name: `${series}-${name}`,
      about,
      series,
      compiler: compiler ?? "gcc-bookworm",
      config,
      make: make ?? [],
      boots: Object.entries(boots ?? everyNumber).map(([each, options]) => boot(each, options)),
      ...(ciDay === undefined ? {} : { ciDay }),
    })),
  );

/** The row that .ci/run builds on a day of the week, 0 for Sunday. */
export function rowOfDay(day: number): ZooRow | undefined {
  return zoo.find(({ ciDay }) => ciDay === day);
}
