// A witness as a file that needs nothing else: the schedule, the scenario, and every byte of code and data that running
// it reads. So a finding can be checked on another machine, without the dump.
import { formatAddress, type VirtualAddress } from "../../bytes/brand.ts";
import { AddressError, FormatError } from "../../bytes/errors.ts";
import { isModelAddress } from "../machine/model-addresses.ts";
import type { Bounds, CodeMemory, System, Witness } from "../types.ts";
import { readWitnessFile, WITNESS_SCHEMA } from "./read-witness.ts";
import { type Replay, replay } from "./replay.ts";

export { readWitnessFile, WITNESS_SCHEMA };

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

/** bigint → "0x…", Uint8Array → { hex }, functions left out; the rest as it is. */
function encode(value: unknown): unknown {
  if (typeof value === "bigint") return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return { hex: Array.from(value, (b) => b.toString(16).padStart(2, "0")).join("") };
  if (Array.isArray(value)) return value.map(encode);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, v]) => v !== undefined && typeof v !== "function");
  return Object.fromEntries(entries.map(([k, v]) => [k, encode(v)]));
}

/**
 * Packs a witness with all that its replay needs.
 * @throws FormatError when the witness does not replay in this system
 */
export function packWitness(system: System, witness: Witness, bounds?: Bounds): WitnessFile {
  const memory = new RecordingMemory(system.memory);
  const result = replay({ ...system, memory }, witness, bounds);
  // What was not decided in the time has been run to its end all the same: nothing more is read.
  if (!result.ok && !result.undecided) throw new FormatError("witness", result.problem ?? "does not replay");
  const { memory: _memory, symbol: _symbol, ...rest } = system;
  return { schema: WITNESS_SCHEMA, witness, system: encode(rest), memory: memory.pieces() };
}

/** Replays a parsed witness file. @throws FormatError when it is none */
export function replayWitnessFile(json: unknown, name?: string, bounds?: Bounds): Replay {
  const { system, witness } = readWitnessFile(json, name);
  return replay(system, witness, bounds);
}
