// The question that is asked of a lock: several CPUs each take and release it some rounds long. Makes the machine's
// input out of a lock entry and an unlock entry.
import { isModelAddress } from "../machine/model-addresses.ts";
import type {
  CodeMemory,
  CpuProgram,
  Entry,
  Environment,
  LockWord,
  MemoryModel,
  Preset,
  SymbolName,
  System,
} from "../types.ts";

/** How one CPU takes and releases the lock. */
export interface LockPair {
  readonly lock: Entry;
  readonly unlock: Entry;
}

export interface Scenario {
  readonly memory: CodeMemory;
  /** The pairs in use: CPU i runs pair i modulo their number. */
  readonly pairs: readonly LockPair[];
  readonly cpus: number;
  readonly rounds: number;
  /** The lock word; its initial bytes go over what the dump has. */
  readonly lock: LockWord & { readonly initial: Uint8Array };
  readonly model?: MemoryModel;
  readonly gsBases?: readonly bigint[];
  readonly presets?: readonly Preset[];
  readonly environment?: Environment;
  readonly interruptsOn?: boolean;
  readonly checkInterrupts?: boolean;
  readonly symbol?: SymbolName;
}

/** Each CPU: `rounds` times lock, critical section, unlock. */
export function lockSystem(scenario: Scenario): System {
  const { pairs, lock, rounds } = scenario;
  const programs = Array.from({ length: scenario.cpus }, (_, cpu): CpuProgram => {
    const pair = pairs[cpu % pairs.length];
    return {
      rounds,
      phases: [{ kind: "run", entry: pair.lock }, { kind: "critical-section" }, { kind: "run", entry: pair.unlock }],
    };
  });
  const { initial, ...word } = lock;
  const zero = isModelAddress(lock.address) && initial.every((byte) => byte === 0);
  const presets = [...(scenario.presets ?? []), ...(zero ? [] : [{ address: lock.address, bytes: initial }])];
  return {
    memory: scenario.memory,
    programs,
    model: scenario.model ?? "tso",
    gsBases: scenario.gsBases,
    presets,
    environment: scenario.environment,
    interruptsOn: scenario.interruptsOn,
    checkInterrupts: scenario.checkInterrupts,
    lock: word,
    symbol: scenario.symbol,
  };
}
