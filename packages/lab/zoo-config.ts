// What a kernel of the zoo is configured with: everything off (allnoconfig), then the few options that a guest of the lab
// and the mechanisms under test need, then what the row wants otherwise. Options that changed their names have both.

/** One option: "SMP=y", "SMP=n", "NR_CPUS=64", "A|B=y" (A of some releases, B of others), "?A=y" (where there is one). */
export type ConfigLine = string;

/**
 * A guest with a serial console and an initramfs, with little to compile, whose code every mechanism patches. EXPERT makes
 * allnoconfig switch off what else is on without being asked for. Its SMP comes from the MP table and VMCOREINFO by
 * QEMU's firmware interface at the ports that the command line tells: without ACPI and PCI a third less is compiled.
 */
export const baseConfig: readonly ConfigLine[] = [
  ...["64BIT=y", "EXPERT=y", "PROCESSOR_SELECT=y", "CPU_SUP_AMD=y", "?CPU_SUP_INTEL=n", "SMP=y", "NR_CPUS=64"],
  ...["PRINTK=y", "PRINTK_TIME=y", "BUG=y", "?BASE_FULL=y", "TTY=y", "SERIAL_8250=y", "SERIAL_8250_CONSOLE=y"],
  ...["BLK_DEV_INITRD=y", "RD_GZIP=y", "BINFMT_ELF=y", "BINFMT_SCRIPT=y", "KERNEL_GZIP=y", "?X86_MPPARSE=y"],
  ...["PROC_FS=y", "PROC_SYSCTL=y", "SYSFS=y", "DEVTMPFS=y", "TMPFS=y", "SHMEM=y"],
  ...["FUTEX=y", "EPOLL=y", "POSIX_TIMERS=y", "MULTIUSER=y", "HIGH_RES_TIMERS=y", "NO_HZ_IDLE=y"],
  ...["MODULES=y", "MODULE_UNLOAD=y", "KALLSYMS=y", "KALLSYMS_ALL=y", "HOTPLUG_CPU=y"],
  // What patches code, or is patched.
  ...[
    "JUMP_LABEL=y",
    "FTRACE=y",
    "FUNCTION_TRACER=y",
    "DYNAMIC_FTRACE=y",
    "KPROBES=y",
    "KPROBE_EVENTS=y",
    "DEBUG_FS=y",
  ],
  ...["HYPERVISOR_GUEST=y", "PARAVIRT=y", "PARAVIRT_SPINLOCKS=y", "KVM_GUEST=y"],
  ...["?SPECULATION_MITIGATIONS|CPU_MITIGATIONS=y", "RETPOLINE|MITIGATION_RETPOLINE=y"],
  ...["PAGE_TABLE_ISOLATION|MITIGATION_PAGE_TABLE_ISOLATION=y", "?RETHUNK|MITIGATION_RETHUNK=y"],
  ...["RELOCATABLE=y", "RANDOMIZE_BASE=y", "RANDOMIZE_MEMORY=y", "UNWINDER_ORC=y", "STACKTRACE=y"],
  ...["KEXEC=y", "CRASH_DUMP=y", "FW_CFG_SYSFS=y", "FW_CFG_SYSFS_CMDLINE=y"],
  ...["BLOCK=y", "?BLK_DEV=y", "BLK_DEV_LOOP=m", "?ISA_DMA_API=y", "BLK_DEV_FD=m", "MD=y", "BLK_DEV_DM=m", "EXT2_FS=m"],
  ...["CC_OPTIMIZE_FOR_PERFORMANCE=y", "PREEMPT_VOLUNTARY=y", "?PREEMPT_DYNAMIC=n", "DEBUG_KERNEL=y", "?WERROR=n"],
  'LOCALVERSION="-zoo"',
];

/** A kernel as distributions have it: ACPI, PCI, Intel's CPUs, and all that is on without being asked for. */
export const fuller: readonly ConfigLine[] = [
  ...["EXPERT=n", "PROCESSOR_SELECT=n", "CPU_SUP_INTEL=y", "ACPI=y", "PCI=y", "DMI=y", "SCHED_MC=y", "SCHEDSTATS=y"],
  ...["CGROUPS=y", "MICROCODE=y", "PERF_EVENTS=y", "FUNCTION_GRAPH_TRACER=y", "PRINTK_TIME=n", "DEBUG_FS=n"],
  ...["FW_CFG_SYSFS=m", "?FW_CFG_SYSFS_CMDLINE=n"],
];

/** Types in the kernel's own memory; pahole makes them out of DWARF, which costs a third of the build's time. */
export const btf: readonly ConfigLine[] = [
  ...["BPF_SYSCALL=y", "BPF_JIT=y", "DEBUG_INFO=y", "?DEBUG_INFO_DWARF4=y", "DEBUG_INFO_BTF=y"],
];

interface Option {
  readonly names: readonly string[];
  readonly value: string;
  /** Not every release has it. */
  readonly optional: boolean;
}

function parse(line: ConfigLine): Option {
  const match = /^(\??)([A-Z0-9_|]+)=(.+)$/.exec(line);
  if (!match) throw new Error(`"${line}" is no option`);
  return { names: match[2].split("|"), value: match[3], optional: match[1] === "?" };
}

/** Each option once: the last line that names it counts. */
function effective(lines: readonly ConfigLine[]): Option[] {
  const last = new Map<string, Option>();
  for (const option of lines.map(parse)) last.set(option.names.join("|"), option);
  return [...last.values()];
}

/** The text that `KCONFIG_ALLCONFIG` takes. */
export function allConfig(lines: readonly ConfigLine[]): string {
  const options = effective(lines).flatMap(({ names, value }) => names.map((name) => `CONFIG_${name}=${value}\n`));
  return options.join("");
}

/** The options that a finished .config does not have as they were wanted: kconfig drops them without a word. */
export function refusedOptions(lines: readonly ConfigLine[], config: string): string[] {
  const held = new Map([...config.matchAll(/^CONFIG_(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value] as const));
  return effective(lines)
    .filter(({ names, value, optional }) => {
      const values = names.map((name) => held.get(name) ?? "n");
      return !optional && (value === "n" ? values.some((each) => each !== "n") : !values.includes(value));
    })
    .map(({ names, value }) => `${names.join("|")}=${value}`);
}
