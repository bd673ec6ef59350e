// Livepatches as text.
import { expect, it } from "vitest";
import { livepatchLines } from "./livepatch-text.ts";
import { PLAIN } from "./paint.ts";

it("lists each patch with what its functions run now", () => {
  const func = { object: "vmlinux", name: "show", address: "0xffffffff81000040", replacement: "lp_show [lp]" } as const;
  expect(
    livepatchLines(
      [
        {
          name: "lp",
          enabled: true,
          functions: [
            { ...func, state: "replaced" },
            { ...func, state: "overridden" },
            { ...func, object: "loop", address: null, state: "off" },
          ],
        },
      ],
      PLAIN,
    ),
  ).toEqual([
    "",
    "1 livepatch",
    "  lp  enabled, 3 functions",
    "    ffffffff81000040 show runs lp_show [lp]",
    "    ffffffff81000040 show has, under a later patch, lp_show [lp]",
    "    show [loop] is not patched now; would run lp_show [lp]",
  ]);
  expect(livepatchLines([], PLAIN)).toEqual([]);
});
