// What the fuzzer damages: one entry a kind of input. Each makes the files of a clean case once, then a damaged variant of
// them for each seed, and says which commands look at them.
import { gunzipSync } from "node:zlib";
import {
  cpioMember,
  deb,
  join as joined,
  rpm,
  tarMember,
} from "../../packages/core/src/image/testing/build-package.ts";
import { buildDwarf, dwarfElf } from "../../packages/core/src/symbols/testing/build-dwarf.ts";
import { makeBugSpecimen, makeSpecimen } from "../../packages/specimen/index.ts";
import { damaged, type Random, targetsOf } from "../fast/damage.ts";

/** Path below the case's folder → content. */
export type Files = ReadonlyMap<string, Uint8Array>;

export interface Target {
  readonly clean: Files;
  /** A damaged variant. */
  damage(random: Random): Files;
  /** The arguments of one command. */
  commands(random: Random): readonly string[];
  /** That the clean files answer at all is part of the test: exit statuses of the first command on them. */
  readonly cleanStatus: readonly number[];
}

const LOCK = "_raw_spin_lock_irq";
const UNLOCK = "floppy:redo_fd_request+0x186";

type Specimen = { dump: Uint8Array; vmlinuz: Uint8Array; modules: ReadonlyMap<string, Uint8Array> };

function filesOf(specimen: Specimen): Map<string, Uint8Array> {
  const files = new Map([
    ["vmcore", specimen.dump],
    ["vmlinuz", specimen.vmlinuz],
  ]);
  for (const [name, bytes] of specimen.modules) files.set(`modules/${name}`, bytes);
  return files;
}

const LOOK = ["diagnose", "audit", "info", "cpus", "locks", "log", "tasks"] as const;

/** Commands that read all of a dump, now and then one that asks for a place. */
function looking(random: Random): readonly string[] {
  const places = [
    "init_task",
    "vfs_write",
    "schedule",
    "0xffffffff81000000",
    "modules",
    "init_task+0xffffffffffffffff",
  ];
  switch (random.below(6)) {
    case 0:
      return ["site", "vmcore", random.of(places)];
    case 1:
      return ["read", "vmcore", random.of(places), "--type", random.of(["task_struct", "module", "char *", "u64"])];
    case 2:
      return ["types", "vmcore", random.of(["task_struct", "module", "*", "pv_*"])];
    default:
      return [random.of(LOOK), "vmcore"];
  }
}

/** Damages one file, at the given part of it only, with changes that know words and pointers. */
function damaging(
  clean: Files,
  file: string,
  part: (bytes: Uint8Array) => readonly [start: number, end: number] = (bytes) => [0, bytes.length],
): (random: Random) => Files {
  const whole = clean.get(file) ?? new Uint8Array();
  const [start, end] = part(whole);
  const piece = whole.slice(start, end);
  const targets = targetsOf(piece);
  return (random) => {
    const broken = damaged(piece, targets, random);
    const out = new Uint8Array(whole.length - piece.length + broken.length);
    out.set(whole.subarray(0, start));
    out.set(broken, start);
    out.set(whole.subarray(end), start + broken.length);
    return new Map(clean).set(file, out);
  };
}

function dumpTarget(specimen: Specimen, part?: (bytes: Uint8Array) => readonly [number, number]): Target {
  const clean = filesOf(specimen);
  return { clean, damage: damaging(clean, "vmcore", part), commands: looking, cleanStatus: [0, 1] };
}

const head = (bytes: Uint8Array): readonly [number, number] => [0, Math.min(bytes.length, 8192)];

/** From the BTF header (magic 0xeb9f, version 1, 24 bytes) to a good way behind it. */
function btf(bytes: Uint8Array): readonly [number, number] {
  const magic = Buffer.from([0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
  const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(magic);
  if (at < 0) throw new Error("the specimen has no BTF");
  return [at, Math.min(bytes.length, at + 16384)];
}

/** The same memory as LiME has it: each range behind 32 bytes {magic, version, first, last, 0}. */
function lime(elf: Uint8Array): Uint8Array {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.length);
  const parts: Uint8Array[] = [];
  for (let i = 0; i < view.getUint16(56, true); i++) {
    const at = Number(view.getBigUint64(32, true)) + i * 56;
    if (view.getUint32(at, true) !== 1) continue;
    const [offset, physical, size] = [8, 24, 32].map((field) => Number(view.getBigUint64(at + field, true)));
    const head = new DataView(new ArrayBuffer(32));
    head.setUint32(0, 0x4c694d45, true);
    head.setUint32(4, 1, true);
    head.setBigUint64(8, BigInt(physical), true);
    head.setBigUint64(16, BigInt(physical + size - 1), true);
    parts.push(new Uint8Array(head.buffer), elf.subarray(offset, offset + size));
  }
  return new Uint8Array(Buffer.concat(parts));
}

function packageTarget(name: string, wrap: (vmlinuz: Uint8Array, module: Uint8Array) => Uint8Array): Target {
  const specimen = makeSpecimen();
  const [[moduleName, module]] = [...specimen.modules];
  const clean = new Map(filesOf(specimen)).set(name, wrap(specimen.vmlinuz, module));
  for (const path of [...clean.keys()])
    if (path.startsWith("modules/") && !path.endsWith(moduleName)) clean.delete(path);
  return {
    clean,
    damage: damaging(clean, name),
    commands: () => ["diagnose", "vmcore", "--image", name],
    cleanStatus: [0, 1, 2],
  };
}

/** Numbers, texts and lists of a JSON value, one to three of them changed to what nobody expects. */
function damagedJson(text: string, random: Random): string {
  const value = JSON.parse(text) as unknown;
  const slots: { holder: Record<string, unknown>; key: string }[] = [];
  const walk = (each: unknown): void => {
    if (typeof each !== "object" || each === null) return;
    for (const key of Object.keys(each)) {
      slots.push({ holder: each as Record<string, unknown>, key });
      walk((each as Record<string, unknown>)[key]);
    }
  };
  walk(value);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const { holder, key } = random.of(slots);
    const strange = [null, 0, -1, 1e12, 1.5, 1e308, "", "0x", "zz", "0xffffffffffffffff", [], {}, true, "__proto__"];
    if (random.below(5) === 0) delete holder[key];
    else holder[key] = random.of(strange);
  }
  return JSON.stringify(value);
}

const encode = (text: string) => new TextEncoder().encode(text);

/** Words that arguments are made of. */
const WORDS = [
  ..."diagnose audit info cpus locks log tasks stack site dis read types symbols prove boot-order explain help sys".split(
    " ",
  ),
  ..."vmcore vmlinuz modules . / /dev/null /etc/passwd nothing --json --limit --image --modules --debug-info --type".split(
    " ",
  ),
  ..."--length --cpus --rounds --assume --replay --seconds --states --registers --physical --force --last --level".split(
    " ",
  ),
  ..."0 1 -1 99999999999999999999 0x init_task vfs_write schedule+0x10 quire:x a:b:c a+b+c *".split(" "),
  "\u001b[31m",
  "",
  "(((((",
  "a".repeat(5000),
  "__proto__",
  "constructor",
];

/** Name → a target, made when it is asked for. `replay` needs a witness that was made with the command itself. */
export const TARGETS: Readonly<Record<string, (witness: () => string) => Target>> = {
  elf: () => dumpTarget(makeSpecimen()),
  "elf-head": () => dumpTarget(makeSpecimen(), head),
  vmcore: () => dumpTarget(makeSpecimen({ format: "vmcore" }), head),
  kdump: () => dumpTarget(makeSpecimen({ format: "kdump", mitigations: true })),
  "kdump-head": () => dumpTarget(makeSpecimen({ format: "kdump" }), head),
  flattened: () => dumpTarget(makeSpecimen({ format: "kdump-flattened" }), head),
  lime: () => {
    const specimen = makeSpecimen();
    return dumpTarget({ ...specimen, dump: lime(specimen.dump) });
  },
  "kernel-30": () => dumpTarget(makeBugSpecimen({ format: "elf" })),
  btf: () => dumpTarget(makeSpecimen(), btf),
  image: () => {
    const specimen = makeSpecimen();
    const payload = specimen.vmlinuz.subarray(Buffer.from(specimen.vmlinuz).indexOf(Buffer.from([0x1f, 0x8b, 0x08])));
    const clean = filesOf({ ...specimen, vmlinuz: new Uint8Array(gunzipSync(payload)) });
    return {
      clean,
      damage: damaging(clean, "vmlinuz"),
      commands: (random) => (random.below(3) === 0 ? ["boot-order", "vmlinuz"] : ["diagnose", "vmcore"]),
      cleanStatus: [0, 1],
    };
  },
  "packed-image": () => {
    const clean = filesOf(makeSpecimen());
    return { clean, damage: damaging(clean, "vmlinuz"), commands: () => ["diagnose", "vmcore"], cleanStatus: [0, 1] };
  },
  module: () => {
    const clean = filesOf(makeSpecimen());
    const names = [...clean.keys()].filter((name) => name.startsWith("modules/"));
    const breakers = names.map((name) => damaging(clean, name));
    return {
      clean,
      damage: (random) => random.of(breakers)(random),
      commands: () => ["diagnose", "vmcore", "--modules", "modules"],
      cleanStatus: [0, 1],
    };
  },
  deb: () => packageTarget("kernel.deb", (vmlinuz) => deb(tarMember("./boot/vmlinuz-6.1.0-palimpsest", "0", vmlinuz))),
  rpm: () =>
    packageTarget("kernel.rpm", (vmlinuz, module) =>
      rpm(
        joined(
          cpioMember("./boot/vmlinuz-6.1.0-palimpsest", 0o100644, vmlinuz),
          cpioMember("./lib/modules/6.1.0-palimpsest/quire.ko", 0o100644, module),
          cpioMember("TRAILER!!!", 0, new Uint8Array()),
        ),
      ),
    ),
  dwarf: () => {
    const types = [
      {
        tag: 0x24,
        label: "int",
        attributes: [
          [0x03, 0x08, "int"],
          [0x0b, 0x0b, 4],
          [0x3e, 0x0b, 5],
        ],
      },
      {
        tag: 0x13,
        label: "module",
        attributes: [
          [0x03, 0x08, "module"],
          [0x0b, 0x0b, 8],
        ],
        children: [
          {
            tag: 0x0d,
            attributes: [
              [0x03, 0x08, "state"],
              [0x49, 0x13, "int"],
              [0x38, 0x0b, 0],
            ],
          },
        ],
      },
    ];
    const elf = dwarfElf(buildDwarf({ version: 4, units: [types as never] }));
    const clean = filesOf(makeSpecimen()).set("debug", elf);
    return {
      clean,
      damage: damaging(clean, "debug"),
      commands: (random) => ["types", "vmcore", random.of(["module", "*", "int"]), "--debug-info", "debug"],
      cleanStatus: [0, 1, 2],
    };
  },
  replay: (witness) => {
    const text = witness();
    const clean = new Map([["witness.json", encode(text)]]);
    return {
      clean,
      damage: (random) => new Map([["witness.json", encode(damagedJson(text, random))]]),
      commands: () => ["prove", "--replay", "witness.json"],
      cleanStatus: [0, 1],
    };
  },
  "prove-code": () => {
    const clean = filesOf(makeBugSpecimen({ format: "elf" }));
    return {
      clean,
      damage: damaging(clean, "vmcore"),
      commands: (random) => ["prove", "vmcore", LOCK, UNLOCK, "--cpus", `${1 + random.below(2)}`, "--seconds", "3"],
      cleanStatus: [1],
    };
  },
  arguments: () => {
    const clean = filesOf(makeSpecimen());
    return {
      clean,
      damage: () => clean,
      commands: (random) => Array.from({ length: 1 + random.below(6) }, () => random.of(WORDS)),
      cleanStatus: [0, 1, 2],
    };
  },
};

/** The command that makes the witness for `replay`, in a folder with the bug's specimen. */
export const WITNESS = {
  files: () => filesOf(makeBugSpecimen({ format: "elf" })),
  args: ["prove", "vmcore", LOCK, UNLOCK, "--cpus", "1", "--json", "--no-cache"],
};
