// A witness file as somebody else wrote it, made into the system and the witness that are replayed: each field is checked, and
// nothing is as large as the file says before it is known to be small.
import type { VirtualAddress } from "../../bytes/brand.ts";
import { AddressError, FormatError } from "../../bytes/errors.ts";
import { REGISTER_NAMES } from "../../x86/register-names.ts";
import type {
  CodeMemory,
  CpuEnd,
  CpuProgram,
  Entry,
  Environment,
  Hook,
  LockWord,
  Phase,
  Preset,
  System,
  Witness,
  WitnessStep,
} from "../types.ts";
import { Field } from "./checked-json.ts";

export const WITNESS_SCHEMA = "palimpsest/witness/1";

const MAX_CPUS = 8;
const MAX_ROUNDS = 1000;
const MAX_PHASES = 16;
const MAX_STEPS = 1 << 20;
const MAX_PIECES = 1 << 16;
const MAX_MEMORY = 64 << 20;
const MAX_PRESETS = 1 << 17;
const MAX_PRESET = 1 << 16;
const MAX_HOOKS = 256;
const MAX_SHARED = 4096;
/** A lock word: the model tests up to 8 cells of it. */
const MAX_WORD = 64;
const U32 = 0xffff_ffff;

/** The pieces of a witness file as memory; everything else is absent. */
class RecordedMemory implements CodeMemory {
  constructor(private readonly pieces: readonly { readonly address: bigint; readonly bytes: Uint8Array }[]) {}

  read(address: VirtualAddress, length: number): Uint8Array {
    for (const piece of this.pieces) {
      const offset = address - piece.address;
      if (offset >= 0n && offset + BigInt(length) <= BigInt(piece.bytes.length))
        return piece.bytes.slice(Number(offset), Number(offset) + length);
    }
    throw new AddressError(address, "page", "not in the witness file");
  }
}

function memoryOf(field: Field, file: string): RecordedMemory {
  let total = 0;
  const pieces = field.list(MAX_PIECES).map((piece) => {
    const address = piece.at("address").hex64();
    const bytes = piece.at("hex").bytes(MAX_MEMORY);
    total += bytes.length;
    if (total > MAX_MEMORY) throw new FormatError(file, `memory has more than ${MAX_MEMORY} bytes`);
    return { address, bytes };
  });
  return new RecordedMemory(pieces);
}

function entryOf(field: Field): Entry {
  const registers: Record<string, bigint | "result"> = {};
  const given = field.at("registers");
  for (const name of given.names()) {
    if (!REGISTER_NAMES.some((known) => known === name)) given.at(name).refuse(`a register: ${name} is none`);
    const value = given.at(name);
    registers[name] =
      value.optional((each) => (each.isText("result") ? ("result" as const) : each.hex64())) ?? value.refuse("a value");
  }
  return {
    address: field.at("address").hex64(),
    stopAt: field.at("stopAt").optional((list) => list.list(MAX_PHASES).map((each) => each.hex64())),
    tries: field.at("tries").optional((each) => each.boolean()),
    registers,
  };
}

function phaseOf(field: Field): Phase {
  const kind = field.at("kind").oneOf(["run", "critical-section"] as const);
  return kind === "run" ? { kind, entry: entryOf(field.at("entry")) } : { kind };
}

const programOf = (field: Field): CpuProgram => ({
  rounds: field.at("rounds").integer(1, MAX_ROUNDS),
  phases: field.at("phases").list(MAX_PHASES, 1).map(phaseOf),
});

function hookOf(field: Field): Hook {
  const address = field.at("address").hex64();
  const kind = field
    .at("kind")
    .oneOf(["return", "wait", "kick", "pending-clear", "pending-set", "pending-test", "hypercall"] as const);
  switch (kind) {
    case "return":
      return { address, kind, value: field.at("value").optional((each) => each.hex64()) };
    case "wait":
      return { address, kind, consume: field.at("consume").boolean() };
    case "kick":
      return { address, kind, cpu: field.at("cpu").oneOf(REGISTER_NAMES) };
    case "hypercall":
      return { address, kind, number: field.at("number").integer(0, U32) };
    default:
      return { address, kind };
  }
}

const environmentOf = (field: Field): Environment => ({
  hooks: field.at("hooks").optional((hooks) => hooks.list(MAX_HOOKS).map(hookOf)),
  hypervisor: field.at("hypervisor").optional((each) => each.oneOf(["kvm", "xen"] as const)),
  apicIds: field.at("apicIds").optional((ids) => ids.list(MAX_CPUS).map((each) => each.integer(0, U32))),
  sharedInfo: field.at("sharedInfo").optional((each) => each.hex64()),
  spuriousWakeups: field.at("spuriousWakeups").optional((each) => each.boolean()),
});

const presetOf = (field: Field): Preset => ({
  address: field.at("address").hex64(),
  bytes: field.at("bytes").at("hex").bytes(MAX_PRESET),
});

const lockOf = (field: Field): LockWord => ({
  address: field.at("address").hex64(),
  length: field.at("length").integer(1, MAX_WORD),
  free: field.at("free").optional((each) => each.oneOf(["initial", "halves-equal"] as const)),
  ignoredBits: field.at("ignoredBits").optional((each) => each.hex64()),
});

function systemOf(field: Field, memory: CodeMemory): System {
  const flag = (name: string): boolean | undefined => field.at(name).optional((each) => each.boolean());
  return {
    memory,
    programs: field.at("programs").list(MAX_CPUS, 1).map(programOf),
    model: field.at("model").oneOf(["tso", "sc"] as const),
    gsBases: field.at("gsBases").optional((list) => list.list(MAX_CPUS).map((each) => each.hex64())),
    presets: field.at("presets").optional((list) => list.list(MAX_PRESETS).map(presetOf)),
    environment: field.at("environment").optional(environmentOf),
    interruptsOn: flag("interruptsOn"),
    checkInterrupts: flag("checkInterrupts"),
    keepRegisters: flag("keepRegisters"),
    lock: field.at("lock").optional(lockOf),
  };
}

const text = (field: Field): string | undefined => field.optional((each) => each.string());

const stepOf = (field: Field, cpus: number): WitnessStep => ({
  cpu: field.at("cpu").integer(0, cpus - 1),
  kind: field.at("kind").oneOf(["instruction", "drain", "model"] as const),
  address: hexText(field.at("address")),
  symbol: text(field.at("symbol")),
  instruction: field.at("instruction").string(),
  lockBefore: text(field.at("lockBefore")),
  lockAfter: text(field.at("lockAfter")),
  lock: text(field.at("lock")),
  storeBuffer: field.at("storeBuffer").optional((list) => list.list(MAX_WORD).map((each) => each.string())),
});

function hexText(field: Field): string {
  field.hex64();
  return field.string();
}

function endOf(field: Field, cpus: number): CpuEnd {
  return {
    cpu: field.at("cpu").integer(0, cpus - 1),
    state: field
      .at("state")
      .oneOf(["finished", "spins", "sleeps", "in critical section", "running", "trapped", "unsupported"] as const),
    round: field.at("round").optional((each) => each.integer(1, MAX_ROUNDS)),
    phase: field.at("phase").optional((each) => each.integer(0, MAX_PHASES)),
    address: hexText(field.at("address")),
    symbol: text(field.at("symbol")),
    cycle: field.at("cycle").optional((list) =>
      list.list(MAX_STEPS).map((each) => ({
        address: hexText(each.at("address")),
        symbol: text(each.at("symbol")),
        instruction: each.at("instruction").string(),
      })),
    ),
  };
}

function witnessOf(field: Field, cpus: number): Witness {
  return {
    verdict: field.at("verdict").oneOf(["hang", "two-holders", "bad-end", "trap", "unsupported"] as const),
    problem: field.at("problem").string(),
    contextSwitches: field.at("contextSwitches").integer(0, MAX_STEPS),
    steps: field
      .at("steps")
      .list(MAX_STEPS, 1)
      .map((each) => stepOf(each, cpus)),
    end: field
      .at("end")
      .list(cpus, cpus)
      .map((each) => endOf(each, cpus)),
    schedule: field
      .at("schedule")
      .list(MAX_STEPS)
      .map((each) => moveOf(each, cpus)),
    shared: field.at("shared").list(MAX_SHARED).map(hexText),
    storeBufferEntries: field.at("storeBufferEntries").integer(1, MAX_WORD),
  };
}

/** "0", "1d": see Witness.schedule. */
function moveOf(field: Field, cpus: number): string {
  const move = field.string(8);
  const match = /^(\d)[dwa]?$/.exec(move);
  return match !== null && Number(match[1]) < cpus ? move : field.refuse(`a move of one of ${cpus} CPUs`);
}

/**
 * The system and the witness in parsed JSON.
 * @throws FormatError naming the field that is missing or not what it should be
 */
export function readWitnessFile(json: unknown, name = "witness"): { system: System; witness: Witness } {
  const file = new Field(json, "", name);
  const schema = file.at("schema");
  if (!schema.isText(WITNESS_SCHEMA)) schema.refuse(`"${WITNESS_SCHEMA}"`);
  const system = systemOf(file.at("system"), memoryOf(file.at("memory"), name));
  return { system, witness: witnessOf(file.at("witness"), system.programs.length) };
}
