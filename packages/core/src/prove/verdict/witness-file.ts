// A witness as a file that needs nothing else: the schedule, the scenario, and every byte of code and data that running
// it reads. So a finding can be checked on another machine, without the dump.
import { formatAddress, type VirtualAddress } from "../../bytes/brand.ts";
import { AddressError, FormatError } from "../../bytes/errors.ts";
import { isModelAddress } from "../machine/model-addresses.ts";
import type { Bounds, CodeMemory, System, Witness } from "../types.ts";
import { type Replay, replay } from "./replay.ts";

export const WITNESS_SCHEMA = "palimpsest/witness/1";

export interface WitnessFile {
  readonly schema: typeof WITNESS_SCHEMA;
  readonly witness: Witness;
  /** The System without its memory; bigints as "0x…", bytes as { "hex": "…" }. */
  readonly system: unknown;
  /** What the run reads, ascending. */
  readonly memory: readonly { readonly address: string; readonly hex: string }[];
}

const GRANULE = 16n;

/** Remembers which granules of a memory were read. */
class RecordingMemory implements CodeMemory {
  private readonly granules = new Map<bigint, Uint8Array>();
  constructor(private readonly memory: CodeMemory) {}

  read(address: VirtualAddress, length: number): Uint8Array {
    const bytes = this.memory.read(address, length);
    for (let at = address - (address % GRANULE); at < address + BigInt(length); at += GRANULE) {
      if (isModelAddress(at) || this.granules.has(at)) continue;
      try {
        this.granules.set(at, this.memory.read(at as VirtualAddress, Number(GRANULE)).slice());
      } catch (error) {
        if (!(error instanceof AddressError)) throw error;
      }
    }
    return bytes;
  }

  /** Neighbouring granules joined. */
  pieces(): { address: string; hex: string }[] {
    const out: { address: bigint; hex: string }[] = [];
    const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
    for (const [address, bytes] of [...this.granules].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const last = out.at(-1);
      if (last !== undefined && last.address + BigInt(last.hex.length / 2) === address) last.hex += hex(bytes);
      else out.push({ address, hex: hex(bytes) });
    }
    return out.map((piece) => ({ address: formatAddress(piece.address), hex: piece.hex }));
  }
}

/** The pieces of a witness file as memory; everything else is absent. */
class RecordedMemory implements CodeMemory {
  private readonly pieces: readonly { readonly address: bigint; readonly bytes: Uint8Array }[];
  constructor(pieces: WitnessFile["memory"]) {
    this.pieces = pieces.map(({ address, hex }) => ({ address: BigInt(address), bytes: bytesOfHex(hex) }));
  }
  read(address: VirtualAddress, length: number): Uint8Array {
    for (const piece of this.pieces) {
      const offset = address - piece.address;
      if (offset >= 0n && offset + BigInt(length) <= BigInt(piece.bytes.length))
        return piece.bytes.slice(Number(offset), Number(offset) + length);
    }
    throw new AddressError(address, "page", "not in the witness file");
  }
}

function bytesOfHex(hex: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/i.test(hex)) throw new FormatError("witness", `"${hex.slice(0, 40)}" is not hex`);
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16));
}

/** bigint → "0x…", Uint8Array → { hex }, functions left out; the rest as it is. */
function encode(value: unknown): unknown {
  if (typeof value === "bigint") return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return { hex: Array.from(value, (b) => b.toString(16).padStart(2, "0")).join("") };
  if (Array.isArray(value)) return value.map(encode);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, v]) => v !== undefined && typeof v !== "function");
  return Object.fromEntries(entries.map(([k, v]) => [k, encode(v)]));
}

function decode(value: unknown): unknown {
  if (typeof value === "string") return /^0x[0-9a-f]{1,32}$/.test(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== "object" || value === null) return value;
  if ("hex" in value && typeof value.hex === "string") return bytesOfHex(value.hex);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, decode(v)]));
}

/**
 * Packs a witness with all that its replay needs.
 * @throws FormatError when the witness does not replay in this system
 */
export function packWitness(system: System, witness: Witness, bounds?: Bounds): WitnessFile {
  const memory = new RecordingMemory(system.memory);
  const result = replay({ ...system, memory }, witness, bounds);
  if (!result.ok) throw new FormatError("witness", result.problem ?? "does not replay");
  const { memory: _memory, symbol: _symbol, ...rest } = system;
  return { schema: WITNESS_SCHEMA, witness, system: encode(rest), memory: memory.pieces() };
}

const isAddress = (value: unknown): value is string => typeof value === "string" && /^0x[0-9a-f]{1,16}$/.test(value);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Is this parsed JSON a witness file, as far as replaying relies on it? @throws FormatError naming the missing part */
export function readWitnessFile(json: unknown, name = "witness"): { system: System; witness: Witness } {
  const fail = (problem: string): never => {
    throw new FormatError(name, problem);
  };
  if (!isRecord(json)) return fail("not an object");
  if (json.schema !== WITNESS_SCHEMA) return fail(`schema ${JSON.stringify(json.schema)}, not "${WITNESS_SCHEMA}"`);
  const { witness, memory } = json;
  if (!isRecord(witness)) return fail("no witness");
  for (const part of ["steps", "schedule", "shared", "end"])
    if (!Array.isArray(witness[part])) return fail(`witness.${part} is no list`);
  if (!(witness.shared as unknown[]).every(isAddress)) return fail("witness.shared holds no addresses");
  if (typeof witness.verdict !== "string") return fail("witness.verdict is missing");
  if (typeof witness.storeBufferEntries !== "number") return fail("witness.storeBufferEntries is missing");
  if (!Array.isArray(memory)) return fail("memory is no list");
  for (const piece of memory)
    if (!isRecord(piece) || !isAddress(piece.address) || typeof piece.hex !== "string")
      return fail("a piece of memory without address or hex");
  const system = decode(json.system);
  if (!isRecord(system) || !Array.isArray(system.programs) || (system.model !== "tso" && system.model !== "sc"))
    return fail("system without programs or memory model");
  if (system.programs.length < 1 || system.programs.length > 8) return fail(`${system.programs.length} CPUs`);
  return {
    system: { ...(system as unknown as System), memory: new RecordedMemory(memory as WitnessFile["memory"]) },
    witness: witness as unknown as Witness,
  };
}

/** Replays a parsed witness file. @throws FormatError when it is none */
export function replayWitnessFile(json: unknown, name?: string, bounds?: Bounds): Replay {
  const { system, witness } = readWitnessFile(json, name);
  return replay(system, witness, bounds);
}
