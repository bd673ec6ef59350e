// Which locks are one and the same, and which are locks of their own.
import { expect, test } from "vitest";
import { virtualAddress } from "../../bytes/brand.ts";
import { fakeKernel } from "../testing/fake-kernel.ts";
import type { KnownLock } from "./known-locks.ts";
import { withoutInner } from "./lock-list.ts";

const lock = (address: bigint, kind: KnownLock["kind"]): KnownLock => ({
  address: virtualAddress(address),
  kind,
  evidence: () => "test",
});

test("the rt_mutex inside an rw_semaphore of PREEMPT_RT is no lock beside it; one elsewhere is", () => {
  const kernel = fakeKernel([], {}, [
    {
      name: "struct rw_semaphore",
      size: 48,
      members: [
        ["rwbase.readers", 0, "u32"],
        ["rwbase.rtmutex", 8, "u64"],
      ],
    },
  ]);
  const outer = lock(0xffffffff82000000n, "rwsem");
  const inner = lock(0xffffffff82000008n, "rt-mutex");
  const other = lock(0xffffffff82001000n, "rt-mutex");
  expect(withoutInner({ kernel }, [outer, inner, other])).toEqual([outer, other]);
  expect(withoutInner({ kernel: fakeKernel([]) }, [outer, inner])).toEqual([outer, inner]);
});
