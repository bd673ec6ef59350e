// Spinning reader-writer locks: struct qrwlock (3.16 and newer, its bits moved in 4.15) and the biased counter of before.
import { getU32 } from "../../kernel/layouts/little-endian.ts";
import { hexBytes } from "../../x86/encode.ts";
import { CONTEXTS, type LockState, type LockWord } from "./types.ts";

/** "bias": arch_rwlock_t up to 3.15; "early": qrwlock with the writer in the low byte, 3.16 to 4.14; "modern": since 4.15. */
export type RwlockKind = "bias" | "early" | "modern";

/** RW_LOCK_BIAS of 2.6 to 3.0; 3.1 and newer have the same below 2048 CPUs (asm/rwlock.h). */
const BIASES: readonly number[] = [0x01000000, 0x00100000];

/**
 * @param bytes 4 bytes (bias) or 8: cnts and wait_lock, a queued spinlock in which those that wait queue up
 * @param cpus possible CPUs
 */
export function decodeRwlock(bytes: Uint8Array, kind: RwlockKind, cpus: number): LockWord {
  const value = getU32(bytes, 0);
  if (kind === "bias") return decodeBias(bytes, value, cpus);
  const shift = kind === "modern" ? 9 : 8;
  const writer = value & 0xff;
  // 4.15 moved _QW_WAITING from the writer byte's value 1 to the bit above it.
  const waiting = kind === "modern" ? (value >> 8) & 1 : writer === 1 ? 1 : 0;
  const writing = writer === 0xff;
  const readers = value >>> shift;
  const queued = bytes.length >= 8 && getU32(bytes, 4) !== 0;
  const problems: string[] = [];
  if (writer !== 0 && !writing && !(kind === "early" && writer === 1)) problems.push(`the writer byte is ${writer}`);
  if (readers > cpus * CONTEXTS * 64) problems.push(`${readers} readers on ${cpus} CPUs`);
  const busy = writing || readers > 0;
  const state: LockState =
    problems.length > 0
      ? "impossible"
      : waiting !== 0 || queued || (writing && readers > 0)
        ? "contended"
        : busy
          ? "held"
          : "free";
  const parts = [
    writing
      ? `held by a writer${readers > 0 ? `, ${readers} readers try` : ""}`
      : readers > 0
        ? `held by ${readers} reader${readers === 1 ? "" : "s"}`
        : "free",
    waiting !== 0 ? "a writer waits" : "",
    queued ? "its wait_lock is taken: others queue" : "",
  ].filter((part) => part !== "");
  return {
    type: "queued rwlock",
    state,
    bytes: hexBytes(bytes.subarray(0, bytes.length >= 8 ? 8 : 4)),
    fields: { writer, waiting, readers, waitLock: bytes.length >= 8 ? hexBytes(bytes.subarray(4, 8)) : "" },
    meaning: state === "impossible" ? problems.join("; ") : parts.join(", "),
    problems,
  };
}

function decodeBias(bytes: Uint8Array, value: number, cpus: number): LockWord {
  const signed = value | 0;
  const limit = cpus * CONTEXTS * 64;
  const word = (state: LockState, meaning: string, fields: LockWord["fields"], problems: string[] = []): LockWord => ({
    type: "rwlock",
    state,
    bytes: hexBytes(bytes.subarray(0, 4)),
    fields,
    meaning,
    problems,
  });
  for (const bias of BIASES) {
    const readers = bias - signed;
    if (readers === 0) return word("free", "free", { value: signed, readers: 0 });
    if (readers === bias) return word("held", "held by a writer", { value: signed, writer: 1 });
    if (readers > 0 && readers <= limit) return word("held", `held by ${readers} readers`, { value: signed, readers });
    if (readers > bias && readers <= bias + limit) {
      return word("contended", `held by a writer, ${readers - bias} readers try`, { value: signed, writer: 1 });
    }
  }
  const problem = `the counter 0x${value.toString(16)} is near no state of the lock`;
  return word("impossible", problem, { value: signed }, [problem]);
}
