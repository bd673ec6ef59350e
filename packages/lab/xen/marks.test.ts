import { describe, expect, it } from "vitest";
import { guestResult, readMarks, sessionState } from "./marks.ts";

const BOOTED = `(XEN) noise
@xen:up 15
@xen:tools 18
@xen:a create 20
@xen:a created 0 50
@xen:a tick 45 1034 0 -b---- 0
@xen:a outcome booted beats 12 200
@xen:a dump 204
@xen:a dumped 0 134574280 250
@xen:a done
`;

const resultOf = (text: string) => guestResult(readMarks(text), "a");
const until = (mark: string) => BOOTED.slice(0, BOOTED.indexOf(mark));

describe("what dom0 says of a guest", () => {
  it("tells outcome and times of one that booted", () => {
    expect(resultOf(BOOTED)).toEqual({
      outcome: "booted",
      reason: "ready, and its heartbeat went round all vCPUs",
      createSeconds: 30,
      bootSeconds: 150,
      dumpSeconds: 46,
      beats: 12,
    });
  });

  it.each([
    ["hung still-for-64", "hung", "nothing new for 64 s"],
    ["crashed kernel-panic", "crashed", "kernel panic"],
    ["crashed domain-state----s-", "crashed", /domain state/],
    ["slow still-moving", "emulation", "still booting when its time was over"],
  ])("words %s", (words, outcome, reason) => {
    const result = resultOf(BOOTED.replace("booted beats", words));
    expect(result.outcome).toBe(outcome);
    expect(result.reason).toMatch(reason);
  });

  it.each([
    ["@xen:a create ", "never began"],
    ["@xen:a created", "dom0 stopped while it made the domain"],
    ["@xen:a outcome", "dom0 stopped while the guest booted"],
    ["@xen:a dumped", "dom0 stopped before the core of a guest that booted was written"],
  ])("blames emulation when dom0 is silent from %s on", (mark, reason) => {
    expect(resultOf(until(mark))).toMatchObject({ outcome: "emulation", reason });
  });

  it("blames nothing on a guest that xl could not make or dump", () => {
    expect(resultOf(BOOTED.replace("created 0", "created 134")).reason).toBe("xl create: exit code 134");
    const failed = resultOf(BOOTED.replace("dumped 0", "dumped 124"));
    expect(failed).toMatchObject({ outcome: "emulation", reason: "xl dump-core: exit code 124 (the guest: booted)" });
  });

  it("does not read a mark that is not whole yet", () => {
    expect(resultOf("@xen:a create 20\n@xen:a created 0").reason).toBe("dom0 stopped while it made the domain");
  });
});

describe("where a session stands", () => {
  it("names the stage, the guests that are over, and dom0's own complaint", () => {
    const state = sessionState(`${BOOTED}@xen:b create 260\n`, ["a", "b"]);
    expect(state).toMatchObject({ stage: "b", fault: undefined });
    expect([...state.done.keys()]).toEqual(["a"]);
    expect(sessionState("@xen:up 3\n", ["a"]).stage).toBe("up");
    expect(sessionState("@xen:up 3\n@xen:fault this is no dom0\n", ["a"]).fault).toBe("this is no dom0");
    expect(sessionState("(XEN) panic\n", ["a"]).stage).toBe("start");
  });

  it("is not misled by a guest that prints such marks of another name", () => {
    expect(sessionState("@xen:up 3\n@xen:other done\n", ["a"]).stage).toBe("up");
  });
});
