// Building the lab's own modules: what needs no network and no compiler of it.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dependencies } from "./beside.ts";
import { type DumpOptions, defaultOptions } from "./dump-types.ts";
import { initScript } from "./guest.ts";
import { dumpKey } from "./make-dump.ts";
import { checkout } from "./measure.ts";
import { sourcesDigest } from "./own-modules.ts";
import { type GuestState, guestStates, ownModulesOf, type StateName } from "./states.ts";

test.each([
  ["linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86"],
  ["linux-headers-6.1.0-56-common(= 6.1.192-2),linux-kbuild-6.1 [amd64] | linux-kbuild, linux-compiler-gcc-12-x86"],
])("the first alternative of each dependency: %s", (field) => {
  const names = ["linux-headers-6.1.0-56-common", "linux-kbuild-6.1", "linux-compiler-gcc-12-x86"];
  expect(dependencies(field)).toEqual(names);
});

test("no dependencies at all", () => expect(dependencies("\n")).toEqual([]));

const ownStates = Object.keys(guestStates).filter((name) => ownModulesOf([name as StateName]).length > 0);

test("states with modules of the lab", () => {
  expect(ownStates.filter((name) => !name.startsWith("hang-"))).toEqual([
    "lock-states",
    "late-user",
    "late-switch",
    "late-switch-hang",
    "busy-interrupt",
  ]);
});

test.each(ownStates as StateName[])("%s: its modules have sources, and its script loads them", (state) => {
  const { own = [], script, after = "" }: GuestState = guestStates[state];
  for (const name of own) {
    expect(existsSync(join(checkout, "packages", "lab", "modules", `${name}.c`))).toBe(true);
    expect(script + after).toContain(`insmod /mod/${name}.ko`);
  }
  // Not with the package's modules: a state loads them when their time has come.
  expect(initScript(["loop"], [state])).toContain("for m in loop; do");
});

test("a dump's name has a digest of its options; states name their modules, each once", () => {
  const options: DumpOptions = { ...defaultOptions, states: ["late-switch"] };
  expect(sourcesDigest(["lock_states"])).toMatch(/^[0-9a-f]{8}$/);
  expect(dumpKey(options)).toMatch(/^late-switch-4cpu-192m-max-[0-9a-f]{8}$/);
  expect(ownModulesOf(["plain", "late-switch", "late-switch-hang"])).toEqual(["late_switch", "late_user"]);
  expect(ownModulesOf(["plain"])).toEqual([]);
});
