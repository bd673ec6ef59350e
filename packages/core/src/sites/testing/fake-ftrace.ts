// ftrace's records and ops in a fake kernel's memory.
import type { KernelOffset } from "../../bytes/brand.ts";
import { at, type FakeKernel, type FakeTypes } from "./fake-kernel.ts";

export const FTRACE_SYMBOLS = {
  ftrace_pages_start: 0x4000000,
  ftrace_ops_list: 0x4000010,
  ftrace_list_end: 0x4000020,
  removed_ops: 0x4000030,
  ftrace_trace_function: 0x4000040,
  ftrace_enabled: 0x4000050,
  ftrace_lock: 0x4000060,
  direct_functions: 0x4000070,
} as const;

export const FTRACE_TYPES: FakeTypes = {
  "struct ftrace_page": { size: 24, members: { next: [0, 8], records: [8, 8], index: [16, 4] } },
  "struct dyn_ftrace": { size: 16, members: { ip: [0, 8], flags: [8, 8] } },
  "struct ftrace_ops": {
    size: 64,
    members: {
      func: [0, 8],
      next: [8, 8],
      flags: [16, 8],
      func_hash: [24, 8],
      trampoline: [32, 8],
      trampoline_size: [40, 8],
      direct_call: [48, 8],
    },
  },
  "struct ftrace_ops_hash": { size: 16, members: { notrace_hash: [0, 8], filter_hash: [8, 8] } },
  "struct mutex": { size: 32, members: { owner: [0, 8] } },
};

export interface FakeOps {
  readonly func: KernelOffset;
  readonly trampoline?: KernelOffset;
  readonly trampolineSize?: number;
  readonly flags?: number;
  /** direct_call, with its low bit */
  readonly direct?: KernelOffset;
}

/** Address of the i-th ops. */
export const opsAt = (i: number): KernelOffset => 0x4200000 + i * 64;

/** Fills in the records and ops, which trace everything. */
export function putFtrace(
  kernel: FakeKernel,
  records: readonly (readonly [ip: KernelOffset, flags: number])[],
  ops: readonly FakeOps[] = [],
): void {
  const { memory } = kernel;
  const PAGE = 0x4100000;
  memory.put64(at(FTRACE_SYMBOLS.ftrace_pages_start), at(PAGE));
  memory
    .put64(at(PAGE), 0)
    .put64(at(PAGE + 8), at(PAGE + 24))
    .put32(at(PAGE + 16), records.length);
  records.forEach(([ip, flags], i) => {
    memory.put64(at(PAGE + 24 + i * 16), at(ip)).put64(at(PAGE + 32 + i * 16), flags);
  });
  memory.put64(at(FTRACE_SYMBOLS.ftrace_ops_list), at(ops.length > 0 ? opsAt(0) : FTRACE_SYMBOLS.ftrace_list_end));
  memory.put64(at(FTRACE_SYMBOLS.removed_ops), 0).put64(at(FTRACE_SYMBOLS.ftrace_lock), 0);
  memory.put64(at(FTRACE_SYMBOLS.ftrace_trace_function), 0).put32(at(FTRACE_SYMBOLS.ftrace_enabled), 1);
  memory.put64(at(FTRACE_SYMBOLS.direct_functions), 0);
  for (const [i, each] of ops.entries()) {
    putOps(kernel, i, each, i + 1 < ops.length ? opsAt(i + 1) : FTRACE_SYMBOLS.ftrace_list_end);
  }
}

/** One ops; by itself it is on no list. */
export function putOps(kernel: FakeKernel, i: number, ops: FakeOps, next = 0): void {
  const base = opsAt(i);
  const optional = (offset: KernelOffset | undefined): bigint => (offset === undefined ? 0n : at(offset));
  kernel.memory
    .put64(at(base), at(ops.func))
    .put64(at(base + 8), next === 0 ? 0n : at(next))
    .put64(at(base + 16), ops.flags ?? 0)
    .put64(at(base + 24), 0)
    .put64(at(base + 32), optional(ops.trampoline))
    .put64(at(base + 40), ops.trampolineSize ?? 0)
    .put64(at(base + 48), optional(ops.direct));
}
