import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { UnavailableError } from "../errors.ts";
import { parseXenGuest } from "../xen/arguments.ts";
import { type Candidate, candidates, indexOf } from "./candidates.ts";
import { type BisectSettings, findingsOf, judgeTrial, runBisect, type Trial } from "./run-bisect.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function settings(known: readonly Trial[]): BisectSettings {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-bisect-"));
  folders.push(folder);
  const state = join(folder, "state.json");
  writeFileSync(state, JSON.stringify(known));
  const xen = { xenArguments: "", outer: false, fresh: false, tries: 1 };
  return { on: "xen", guest: parseXenGuest("g", {}), finding: undefined, state, xen };
}

const trial = (name: string, answer: Trial["answer"]): Trial => {
  return { name, answer, outcome: answer === "good" ? "booted" : "hung", findings: [], folder: undefined, reason: "" };
};

describe("good or bad", () => {
  it("is whether it boots, or whether it has the finding; emulation says nothing", () => {
    expect(judgeTrial("booted", [], undefined)).toBe("good");
    expect(judgeTrial("hung", [], undefined)).toBe("bad");
    expect(judgeTrial("crashed", [], undefined)).toBe("bad");
    expect(judgeTrial("emulation", [], undefined)).toBe("skip");
    expect(judgeTrial("booted", ["site.stale"], "site.stale")).toBe("bad");
    expect(judgeTrial("booted", ["hang.lock-pair"], "hang")).toBe("bad");
    expect(judgeTrial("hung", ["site.stale"], "hang")).toBe("good");
    expect(judgeTrial("hung", undefined, "hang")).toBe("skip");
  });

  it("reads findings out of a report, and nothing out of what is none", () => {
    expect(findingsOf('{"findings":[{"id":"a"},{"id":"a"},{"id":"b"}]}')).toEqual(["a", "b"]);
    expect(findingsOf('{"findings":[]}')).toEqual([]);
    expect(findingsOf("{}")).toBeUndefined();
    expect(findingsOf("oops")).toBeUndefined();
  });
});

describe("a bisection", () => {
  const gone = (name: string): Candidate => ({
    name,
    kernel: () => Promise.reject(new UnavailableError(name, "gone")),
    guest: (base) => base,
  });

  it("goes on from what was kept, and skips what cannot be had", async () => {
    const list = ["a", "b", "c"].map(gone);
    const asked: Trial[] = [];
    const end = await runBisect(
      list,
      0,
      2,
      settings([trial("a", "good"), trial("c", "bad")]),
      () => {},
      (each) => asked.push(each),
    );
    expect(asked.map(({ name, outcome, answer }) => [name, outcome, answer])).toEqual([["b", "unavailable", "skip"]]);
    expect(end.kind === "found" && end.suspects.map(({ name }) => name)).toEqual(["b", "c"]);
    expect(end.kind === "found" && end.lastGood?.name).toBe("a");
  });

  it("ends when its good end is none", async () => {
    const end = await runBisect(
      ["a", "b"].map(gone),
      0,
      1,
      settings([trial("a", "bad")]),
      () => {},
      () => {},
    );
    expect(end).toEqual({ kind: "failed", reason: "the good end is bad" });
  });
});

describe("its list", () => {
  const base = parseXenGuest("g", { append: "quiet", load: "x" });

  it("adds options, and modules one by one", () => {
    const options = candidates("options", ["-", "a=1 b"], "6.1");
    expect(options.map((each) => each.guest(base).append)).toEqual(["quiet", "quiet a=1 b"]);
    const modules = candidates("modules", ["loop", "floppy"], "6.1");
    expect(modules.map((each) => each.guest(base).modules)).toEqual([[], ["loop"], ["loop", "floppy"]]);
    expect(indexOf(modules, "--bad", "floppy", 0)).toBe(2);
    expect(indexOf(modules, "--good", undefined, 0)).toBe(0);
  });

  it("is refused when it makes no sense", () => {
    expect(() => candidates("kernels", ["6.1"], undefined)).toThrow(/at least two/);
    expect(() => candidates("kernels", ["6.1", "6.1"], undefined)).toThrow(/6\.1 is twice/);
    expect(() => candidates("options", ["-", "a"], undefined)).toThrow(/which kernel/);
    expect(() => indexOf(candidates("kernels", ["5.10", "6.1"], undefined), "--good", "7", 0)).toThrow(
      /--good "7" is not in the list: 5\.10, 6\.1/,
    );
  });
});
