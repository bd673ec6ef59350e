// Locks inside variables whose C type is told: BTF describes per-CPU variables, down to the raw_spinlock_t in each CPU's
// runqueue.
import { addressAdd, type VirtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Member, TypeTable, Variable } from "../../symbols/types.ts";
import type { PerCpu } from "../../tasks/per-cpu.ts";
import { kindOfType, type LockKind } from "../code/lock-kinds.ts";

export interface TypedLock {
  readonly address: VirtualAddress;
  readonly kind: LockKind;
  /** "runqueues.__lock of CPU 2" */
  readonly name: string;
  /** "struct rq" */
  readonly typeName: string;
}

interface Part {
  readonly kind: LockKind;
  readonly offset: number;
  /** ".__lock", "[1].lock", "" for the variable itself */
  readonly path: string;
}

/** Nesting of structures, elements of one array, locks in one variable, and locks in all: each is bounded. */
const MAX_DEPTH = 6;
const MAX_ELEMENTS = 64;
const MAX_PARTS = 512;
const MAX_LOCKS = 1 << 16;
/** No variable of a kernel is larger; what claims to be is not looked into. */
const MAX_SIZE = 1 << 24;

/** The locks of all per-CPU variables, for each CPU that has a copy. */
export function typedLocks(kernel: Kernel, perCpu: PerCpu): TypedLock[] {
  const out: TypedLock[] = [];
  // Per-CPU addresses count from zero up to 6.14; the section's start is zero there.
  const start = kernel.find("__per_cpu_start");
  if (start === undefined) return out;
  const parts = new Map<string, readonly Part[]>();
  for (const variable of kernel.types.variables?.() ?? []) {
    if (variable.section !== ".data..percpu") continue;
    for (const part of partsOf(kernel.types, variable, parts)) {
      for (let cpu = 0; cpu < perCpu.possible; cpu++) {
        const offset = perCpu.offset(cpu);
        if (offset === undefined || out.length >= MAX_LOCKS) continue;
        out.push({
          address: addressAdd(addressAdd(start, variable.offset + part.offset), offset),
          kind: part.kind,
          name: `${variable.name}${part.path} of CPU ${cpu}`,
          typeName: variable.typeName,
        });
      }
    }
  }
  return out;
}

/** The locks in a variable, by offset. */
export function partsOf(types: TypeTable, variable: Variable, known = new Map<string, readonly Part[]>()): Part[] {
  const out: Part[] = [];
  if (variable.size > 0 && variable.size <= MAX_SIZE) {
    elements(types, variable, "", 0, 0, out, known);
  }
  return out;
}

/** @param what a variable or member: its type, size and number of elements */
function elements(
  types: TypeTable,
  what: { readonly typeName: string; readonly size: number; readonly count?: number },
  path: string,
  offset: number,
  depth: number,
  out: Part[],
  known: Map<string, readonly Part[]>,
): void {
  const typeName = what.typeName.replace(/(\[\d+\])+$/, "");
  const inner = insideOf(types, typeName, depth, known);
  if (inner.length === 0) return;
  const element = what.count === undefined ? what.size : (types.sizeOf(typeName) ?? 0);
  const count = what.count === undefined || element === 0 ? 1 : Math.min(MAX_ELEMENTS, Math.floor(what.size / element));
  for (let i = 0; i < count; i++) {
    for (const part of inner) {
      if (out.length >= MAX_PARTS) return;
      const at = what.count === undefined ? path : `${path}[${i}]`;
      out.push({ kind: part.kind, offset: offset + i * element + part.offset, path: `${at}${part.path}` });
    }
  }
}

/** The locks in one object of a type; the outermost kind counts, not the spinlock inside a mutex. */
function insideOf(
  types: TypeTable,
  typeName: string,
  depth: number,
  known: Map<string, readonly Part[]>,
): readonly Part[] {
  const own = kindOfType(typeName);
  if (own !== undefined) return [{ kind: own, offset: 0, path: "" }];
  if (typeName.endsWith("*") || typeName.includes("(") || depth > MAX_DEPTH) return [];
  const before = known.get(typeName);
  if (before !== undefined) return before;
  known.set(typeName, []);
  const out: Part[] = [];
  const members = typeName.startsWith("union ") ? [] : (types.members(typeName) ?? []);
  // What shares its place with another member is in a union: nothing tells which of them is there.
  const shared = (one: Member): boolean =>
    members.some(
      (other) => other !== one && other.offset < one.offset + one.size && one.offset < other.offset + other.size,
    );
  for (const member of members) {
    if (member.bitSize !== undefined || (kindOfType(member.typeName) !== undefined && shared(member))) continue;
    elements(types, member, `.${member.name}`, member.offset, depth + 1, out, known);
  }
  known.set(typeName, out);
  return out;
}
