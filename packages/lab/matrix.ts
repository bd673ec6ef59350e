// The matrix: which kernels, in which states, on which CPUs the account of every byte must hold. A table and nothing
// else; run-matrix.ts makes the dumps and diagnoses them.
import { type DumpOptions, defaultOptions } from "./dump-types.ts";
import type { StateName } from "./states.ts";

export interface MatrixRow {
  /** "6.1/kprobe": flavour and what is special. */
  readonly name: string;
  readonly flavour: string;
  readonly options: DumpOptions;
  /** In the part that .ci/run runs. */
  readonly ci: boolean;
  /** Ids of the findings that it must have, and no others; empty for a healthy kernel. */
  readonly finds: readonly string[];
}

/** Enough where the locks are what counts. */
const fewModules = ["qemu_fw_cfg", "floppy", "loop"];

/** What each of the four main kernels is tried with. */
const everyMainKernel: Readonly<Record<string, Partial<DumpOptions>>> = {
  plain: {},
  function: state("function"),
  graph: state("graph"),
  filter: state("filter"),
  kprobe: state("kprobe"),
  "kprobe-int3": state("kprobe-int3"),
  kretprobe: state("kretprobe"),
  events: state("events"),
  "traced-and-probed": { states: ["function", "kprobe", "kretprobe", "events"] },
  unload: state("unload"),
  hotplug: state("hotplug"),
  "1cpu": { cpus: 1 },
  "1cpu-then-4": { append: "maxcpus=1", states: ["online"] },
  "mitigations-off": { append: "mitigations=off" },
  "nokaslr-qemu64": { append: "nokaslr", cpuModel: "qemu64", cpus: 2 },
  skylake: { cpuModel: "Skylake-Server" },
  cascadelake: { cpuModel: "Cascadelake-Server" },
  epyc: { cpuModel: "EPYC" },
  milan: { cpuModel: "EPYC-Milan" },
  toggle: { ...state("toggle"), cpus: 2, snapshots: 10 },
  "late-user": { ...state("late-user"), modules: fewModules },
  "late-switch": { ...state("late-switch"), modules: fewModules },
  "late-switch-hang": { ...state("late-switch-hang"), modules: fewModules },
};

/** What only some kernels have, or what is worth it on some only. */
const single: readonly (readonly [flavour: string, what: string, options: Partial<DumpOptions>])[] = [
  // Not 7: its emit_indirect() is given a room of -1 byte for LFENCE; JMP *%r11, writes past its buffer and never boots.
  ...["5.10", "6.1", "6.12"].map(
    (flavour) => [flavour, "spectre_v2-lfence", { append: "spectre_v2=retpoline,lfence" }] as const,
  ),
  ["7", "nopti", { cpuModel: "Skylake-Server", append: "nopti nosmap" }],
  ["6.1", "4cpu-to-1", state("offline")],
  ["6.1", "skylake-retbleed-off", { cpuModel: "Skylake-Server", append: "retbleed=off" }],
  ["6.1", "cascadelake-eibrs", { cpuModel: "Cascadelake-Server", append: "spectre_v2=eibrs" }],
  ["6.1", "nopti", { cpuModel: "Skylake-Server", append: "nopti" }],
  ["6.1", "no-la57", { cpuModel: "max,-la57" }],
  ["6.1", "nosmap", { append: "nosmap nosmep" }],
  ["6.1", "kvm", { modules: [...defaultOptions.modules, "kvm", "kvm-amd", "btrfs", "nf_tables"] }],
  ["6.12", "skylake-call-depth", { cpuModel: "Skylake-Server", append: "retbleed=stuff spectre_v2=retpoline" }],
  [
    "6.12",
    "skylake-call-depth-traced",
    {
      cpuModel: "Skylake-Server",
      append: "retbleed=stuff spectre_v2=retpoline",
      states: ["function", "kprobe"],
    },
  ],
  ["6.12", "its-stuff", { cpuModel: "Skylake-Server", append: "indirect_target_selection=force" }],
  ["6.12", "milan-srso", { cpuModel: "EPYC-Milan", append: "spec_rstack_overflow=safe-ret" }],
  ["6.12", "epyc-unret", { cpuModel: "EPYC", append: "retbleed=unret" }],
  ["6.12", "icelake", { cpuModel: "Icelake-Server" }],
  ["6.12", "kvm", { modules: [...defaultOptions.modules, "kvm", "kvm-amd", "btrfs", "nf_tables"] }],
  ["7", "skylake-call-depth", { cpuModel: "Skylake-Server", append: "retbleed=stuff spectre_v2=retpoline" }],
  ["7", "its", { cpuModel: "Icelake-Server", append: "indirect_target_selection=force" }],
  ["5.10", "skylake-retbleed-off", { cpuModel: "Skylake-Server", append: "retbleed=off" }],
  ["5.10-cloud", "plain", {}],
  ["6.1-cloud", "plain", {}],
  ["6.1-cloud", "nokaslr-2cpu", { append: "nokaslr", cpus: 2 }],
  ["6.12-cloud", "plain", {}],
  ["7-cloud", "plain", {}],
  ["7-cloud", "function", state("function")],
  ["5.10-rt", "plain", {}],
  ["6.1-rt", "plain", {}],
  ["6.12-rt", "plain", {}],
  ["6.12-rt", "kprobe", state("kprobe")],
  ["7-rt", "plain", {}],
];

/** What follows from lock slots that changed too late: the mistake of bug 838026. */
const lateSlots = ["lock.mixed", "hang.lock-pair", "slot.late-write", "site.stale"];
const findsOf: Partial<Record<StateName, readonly string[]>> = {
  "late-switch": lateSlots,
  "late-switch-hang": lateSlots,
};

/** The rows that .ci/run has time for: one look at each kernel and at each kind of patching. */
const inCi = new Set([
  ...["5.10/plain", "6.1/plain", "6.12/plain", "7/plain"],
  ...["6.1/traced-and-probed", "6.12/kprobe-int3", "7/events", "5.10/filter"],
  ...["6.12/skylake-call-depth", "6.12/milan-srso", "6.1-cloud/plain", "6.1/1cpu"],
  // test/slow/late-switch.test.ts has made these.
  ...["5.10/late-switch-hang", "7/late-switch-hang", "6.1/late-user"],
]);

function state(name: StateName): Partial<DumpOptions> {
  return { states: [name] };
}

function row(flavour: string, what: string, options: Partial<DumpOptions>): MatrixRow {
  const name = `${flavour}/${what}`;
  const finds = (options.states ?? []).flatMap((each) => findsOf[each] ?? []);
  return { name, flavour, options: { ...defaultOptions, ...options }, ci: inCi.has(name), finds };
}

/** All rows, kernel by kernel. */
export const matrix: readonly MatrixRow[] = [
  ...["5.10", "6.1", "6.12", "7"].flatMap((flavour) => [
    ...Object.entries(everyMainKernel).map(([what, options]) => row(flavour, what, options)),
    ...single.filter(([of]) => of === flavour).map(([of, what, options]) => row(of, what, options)),
  ]),
  ...single.filter(([of]) => /-/.test(of)).map(([of, what, options]) => row(of, what, options)),
];

/** True for the names that hold `pattern` ("6.1/", "kprobe"; "*" stands for anything, "^" and "$" for the ends). */
export function patternTest(pattern: string | undefined): (name: string) => boolean {
  if (pattern === undefined) return () => true;
  const source = pattern.replace(/[.+?()[\]{}|\\]/g, "\\$&").replaceAll("*", ".*");
  const expression = new RegExp(source);
  return (name) => expression.test(name);
}

/** The rows whose names hold `pattern`. */
export function selectRows<Row extends { readonly name: string }>(
  rows: readonly Row[],
  pattern: string | undefined,
): Row[] {
  const test = patternTest(pattern);
  return rows.filter(({ name }) => test(name));
}
