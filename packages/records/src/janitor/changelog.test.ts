// The patterns by dpkg's own vectors; the slow suite compares with dpkg-parsechangelog over real changelogs.
import { describe, expect, it } from "vitest";
import { closesIn, controlFields, launchpadIn, parseChangelog } from "./changelog.ts";

describe("bug numbers in a changelog", () => {
  it.each([
    ["LP: #838026", [838026]],
    ["(LP: #1, #2)", [1, 2]],
    ["(lp: #5,\n    #6)", [5, 6]],
    ["lp:#77", []],
    ["LP #78", []],
    ["LP: 79", []],
    ["LP: #3 LP: #2, #3", [2, 3]],
  ])("%j is fixed in Launchpad: %j", (text, numbers) => {
    expect(launchpadIn(text)).toEqual(numbers);
  });

  it.each([
    ["Closes: #642000, bug#642001", [642000, 642001]],
    ["closes:642002", [642002]],
    ["Closes: bug 7, # 8", [7, 8]],
    ["Close: #9", []],
    ["(Closes:\n #10)", [10]],
    ["Closes: #99999999999999999999999", []],
  ])("%j closes %j", (text, numbers) => {
    expect(closesIn(text)).toEqual(numbers);
  });
});

const TWO = `linux (3.0.0-10.16) oneiric; urgency=low

  * Fix the boot
    - LP: #838026

 -- A B <a@example.org>  Fri, 09 Sep 2011 14:02:11 -0700

linux (3.0.0-9.15) natty oneiric-proposed; urgency=HIGH

  * Closes: #5

 -- LP: #6 <closes:7@example.org>  Wed, 31 Aug 2011 09:12:00 -0700
vim: set sw=2
  * LP: #999
`;

describe("a changelog", () => {
  it("is a list of entries, newest first, each with its own text", () => {
    const [first, second, ...more] = parseChangelog(TWO);
    expect(more).toEqual([]);
    expect([first!.source, first!.version, first!.distributions, first!.urgency]).toEqual([
      "linux",
      "3.0.0-10.16",
      ["oneiric"],
      "low",
    ]);
    expect(first!.text.split("\n").at(-1)).toBe(" -- A B <a@example.org>  Fri, 09 Sep 2011 14:02:11 -0700");
    expect([first!.launchpad, first!.closes]).toEqual([[838026], []]);
    expect([second!.distributions, second!.urgency, second!.closes]).toEqual([
      ["natty", "oneiric-proposed"],
      "high",
      [5],
    ]);
  });

  it("takes no number from a head, a trailer or what is below the format", () => {
    expect(parseChangelog(TWO)[1]!.launchpad).toEqual([]);
  });

  it("is empty when there is no entry, whatever the bytes", () => {
    for (const text of ["", "\0\0", "linux 1.0", "linux (1) x", "(".repeat(100_000), " -- x <y>  z\n".repeat(1000)]) {
      expect(parseChangelog(text)).toEqual([]);
    }
  });
});

describe("a control file", () => {
  it("has fields of several lines, also inside a signature", () => {
    const text =
      "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSource: linux\nChanges:\n linux (1) x; urgency=low\n .\n   * y\n\n-----BEGIN PGP SIGNATURE-----\n";
    expect([...controlFields(text)]).toEqual([
      ["source", "linux"],
      ["changes", "\nlinux (1) x; urgency=low\n.\n  * y"],
    ]);
  });
});
