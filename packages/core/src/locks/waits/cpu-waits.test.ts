// Which lock a CPU waits for, on code, registers and words made by hand: what is certain wins whatever a word holds, a guess is
// named one, and nothing is made of a pointer that lies about.
import { expect, test } from "vitest";
import { virtualAddress } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { CpuNote } from "../../memory/types.ts";
import type { StructShape } from "../../symbols/known-shapes/shape-types.ts";
import { allKnown, awaitedFacts, notesOf, untoldOf } from "../find/lock-list.ts";
import { lockStateFindings } from "../findings/impossible.ts";
import { LockState } from "../lock-state.ts";
import { fakeKernel, long, quad, type Runs } from "../testing/fake-kernel.ts";
import { cpuFacts } from "./cpu-facts.ts";

const TEXT = 0xffffffff81000000n;
const SYMBOLS = {
  _text: TEXT,
  native_queued_spin_lock_slowpath: TEXT + 0x100n,
  queued_write_lock_slowpath: TEXT + 0x200n,
  _raw_spin_lock: TEXT + 0x300n,
  caller: TEXT + 0x400n,
  kvm_wait: TEXT + 0x500n,
  __pv_queued_spin_lock_slowpath: TEXT + 0x600n,
  odd_taker: TEXT + 0x700n,
  behind: TEXT + 0x800n,
  pv_lock_ops: TEXT + 0x13000n,
  _etext: TEXT + 0x1000n,
  the_lock: TEXT + 0x10000n,
  a_timer_list: TEXT + 0x10100n,
  __per_cpu_offset: TEXT + 0x11000n,
  nr_cpu_ids: TEXT + 0x11100n,
  __cpu_online_mask: TEXT + 0x11200n,
  qnodes: TEXT + 0x12000n,
  _end: TEXT + 0x20000n,
};
const S = SYMBOLS;
const HEAP = 0xffff888000100000n;
const STACK = 0xffffc90000100000n;
const call = (from: bigint, to: bigint): string => `e8 ${long(Number(to - from - 5n))}`;
/** pause; jmp back: the loop, in which %rdi still is the lock */
const SPIN = "f3 90 eb fc";
const PUSHED = "53 48 89 fb 31 ff f3 90 eb fc";

/** A function as long as to the next one: INT3s behind its code. */
function whole([at, text]: Runs[number]): Runs[number] {
  const missing = at >= TEXT && at < S._etext ? 256 - text.split(" ").length : 0;
  return [at, `${text}${" cc".repeat(missing)}`];
}

interface Case {
  readonly rip: bigint;
  readonly registers?: Readonly<Record<string, bigint>>;
  readonly stack?: readonly bigint[];
  readonly runs?: Runs;
  readonly online?: number;
  /** the MCS node of CPU 0: its use count, 0 for none */
  readonly nodes?: number;
}

/** One CPU of two that stands at `rip`. */
function stateOf({ rip, registers = {}, stack = [], runs = [], online = 1, nodes = 0 }: Case): LockState {
  const code: Runs = [
    [S.native_queued_spin_lock_slowpath, SPIN],
    // push %rbx; mov %rdi,%rbx; xor %edi,%edi: the lock is in %rbx alone; behind it the call of the spinlock's slow path
    [
      S.queued_write_lock_slowpath,
      `53 48 89 fb 48 8d 7f 04 ${call(S.queued_write_lock_slowpath + 8n, S.native_queued_spin_lock_slowpath)} f3 90 eb fc`,
    ],
    [S._raw_spin_lock, `90 53 ${call(S._raw_spin_lock + 2n, S.native_queued_spin_lock_slowpath)} 5b c3`],
    [
      S.caller,
      `48 c7 c7 ${long(Number(BigInt.asIntN(32, S.the_lock)))} ${call(S.caller + 7n, S._raw_spin_lock)} 48 89 df ${call(S.caller + 15n, S._raw_spin_lock)} c3`,
    ],
    [S.kvm_wait, "f4 c3"],
    [S.__pv_queued_spin_lock_slowpath, `${PUSHED} ${call(S.__pv_queued_spin_lock_slowpath + 10n, S.kvm_wait)} c3`],
    [S.odd_taker, SPIN],
    [S.pv_lock_ops, quad(S.odd_taker)],
    [S.__per_cpu_offset, `${quad(0n)} ${quad(0x1000n)}`],
    [S.nr_cpu_ids, long(2)],
    [S.__cpu_online_mask, quad(BigInt(online))],
    // struct mcs_spinlock {next; int locked; int count}, twice: one an area
    [S.qnodes, `${quad(0n)} ${long(0)} ${long(nodes)}`],
    [S.qnodes + 0x1000n, `${quad(0n)} ${long(0)} ${long(0)}`],
    [STACK, [...stack, ...new Array<bigint>(64 - stack.length).fill(0n)].map(quad).join(" ")],
  ];
  const slots: StructShape = { name: "struct pv_lock_ops", members: [["spin_lock", 0, "u64"]] };
  const kernel = fakeKernel([...runs, ...code.map(whole)], SYMBOLS, [slots]);
  const note: CpuNote = {
    index: 0,
    source: "NT_PRSTATUS",
    registers: { rip, rsp: STACK, rflags: 2n, cs: 0x10, general: registers } as unknown as CpuNote["registers"],
  };
  return new LockState({ ...kernel, dump: { ...kernel.dump, cpus: [note] } } as Kernel);
}

const FREE = "00 00 00 00";
const PENDING = "01 01 00 00";

test("the register that the loop reads is the lock, whatever its word holds and whatever else has a pending bit", () => {
  // A guest that spins by test-and-set: the word shows no waiter, while a timer_list on the way looks like one.
  const state = stateOf({
    rip: S.native_queued_spin_lock_slowpath,
    registers: { rdi: HEAP, rbx: S.a_timer_list },
    runs: [
      [HEAP, "01 00 00 00"],
      [S.a_timer_list, PENDING],
    ],
  });
  expect(state.cpuWaits).toMatchObject([
    { who: "cpu", cpu: 0, lock: HEAP, kind: "raw-spinlock", evidence: { by: "register", register: "rdi" } },
  ]);
});

test("the constant that the caller handed over, through functions that hand on their argument", () => {
  const state = stateOf({
    rip: S.native_queued_spin_lock_slowpath + 2n,
    stack: [S._raw_spin_lock + 7n, S.caller + 12n],
    runs: [[S.the_lock, FREE]],
  });
  expect(state.cpuWaits[0]).toMatchObject({
    lock: S.the_lock,
    evidence: { by: "frame", caller: { symbol: "caller" } },
  });
});

test("what another register holds is a guess: named one, told, and never an error", () => {
  const state = stateOf({
    rip: S.kvm_wait,
    registers: { rbx: S.a_timer_list },
    stack: [S.__pv_queued_spin_lock_slowpath + 15n],
    runs: [[S.a_timer_list, "03 01 00 00"]],
  });
  expect(state.cpuWaits[0]).toMatchObject({
    lock: S.a_timer_list,
    asleep: true,
    evidence: { by: "guess", from: "rbx" },
  });
  const locks = awaitedFacts(state);
  expect(locks.map(({ waiters }) => waiters)).toMatchObject([[{ cpu: 0, guess: true }]]);
  expect(lockStateFindings(state, locks, [])).toEqual([]);
  expect(untoldOf(state, locks)).toEqual({ untold: 1, withoutRegisters: 0 });
  expect(notesOf(state).join()).toMatch(/nothing proves for which lock: .* is a guess: rbx/);
});

test("a guess whose word is impossible stays unknown", () => {
  const state = stateOf({
    rip: S.kvm_wait,
    registers: { rbx: S.a_timer_list },
    stack: [S.__pv_queued_spin_lock_slowpath + 15n],
    // pending, and a tail that names MCS node 0 of CPU 1, which is not in use
    runs: [[S.a_timer_list, "01 01 08 00"]],
  });
  expect(awaitedFacts(state)).toMatchObject([{ state: "unknown", symbol: "a_timer_list" }]);
});

test("a word whose queue leads to this CPU's node is proved, before any guess", () => {
  const state = stateOf({
    rip: S.kvm_wait,
    registers: { rbx: S.a_timer_list, r12: HEAP },
    stack: [S.__pv_queued_spin_lock_slowpath + 15n],
    nodes: 1,
    runs: [
      [S.a_timer_list, PENDING],
      [HEAP, "01 00 04 00"],
    ],
  });
  expect(state.cpuWaits[0]).toMatchObject({
    lock: HEAP,
    evidence: { by: "queue", from: "r12", node: { cpu: 0, index: 0 } },
  });
  expect(awaitedFacts(state)[0].waiters).toMatchObject([{ cpu: 0, node: 0 }]);
});

test("a writer that queues on the spinlock inside a qrwlock waits for the qrwlock, 4 bytes in front", () => {
  const state = stateOf({
    rip: S.native_queued_spin_lock_slowpath,
    registers: { rdi: HEAP + 4n },
    stack: [S.queued_write_lock_slowpath + 13n],
    runs: [[HEAP, `ff 00 00 00 ${PENDING}`]],
  });
  expect(state.cpuWaits[0]).toMatchObject({ lock: HEAP, kind: "rwlock", mode: "writer" });
});

test("a lock that is not told, and CPUs without registers, are no reason to say that none is held", () => {
  const untold = stateOf({ rip: S.kvm_wait, stack: [S.__pv_queued_spin_lock_slowpath + 15n] });
  expect(untold.cpuWaits[0]).toMatchObject({ lock: undefined, evidence: { by: "nothing" } });
  expect(untoldOf(untold, [])).toEqual({ untold: 1, withoutRegisters: 0 });
  expect(untoldOf(stateOf({ rip: S.caller, online: 3 }), [])).toEqual({ untold: 0, withoutRegisters: 1 });
});

test("an inner lock that only a guess names makes no known lock impossible", () => {
  const state = stateOf({
    rip: S.kvm_wait,
    registers: { rbx: S.the_lock },
    stack: [S.__pv_queued_spin_lock_slowpath + 15n],
    runs: [[S.the_lock, PENDING]],
  });
  const [lock] = allKnown(state).filter(({ address }) => address === virtualAddress(S.the_lock));
  expect(lock.guess ?? false).toBe(false);
});

test("a function that only a slot tells to take locks", () => {
  const state = stateOf({ rip: S.odd_taker, registers: { rdi: HEAP }, runs: [[HEAP, FREE]] });
  expect(state.cpuWaits[0]).toMatchObject({ lock: HEAP, family: "unknown", evidence: { by: "register" } });
  expect(cpuFacts(state.kernel)[0].waits).toMatchObject([{ implementation: "unknown", proved: true, evidence: "rdi" }]);
});
