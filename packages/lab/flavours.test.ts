import { describe, expect, it } from "vitest";
import { compareVersions } from "./debian-version.ts";
import { choosePackages, findFlavour, flavours, packageParts, worthTrying } from "./flavours.ts";

describe("compareVersions", () => {
  // older, newer
  it.each([
    ["6.1.99-1", "6.1.192-1"],
    ["7.3~rc7-1~exp1", "7.3-1"],
    ["5.10.223-1", "5.10.251-3"],
    ["6.12.107-1", "6.12.107-1+b1"],
    ["6.12.9", "6.12.10-1"],
    ["9.0", "1:0.1"],
    ["1.0a", "1.0+"],
    ["1.0", "1.0.1"],
  ])("%s is older than %s", (older, newer) => {
    expect(compareVersions(older, newer)).toBeLessThan(0);
    expect(compareVersions(newer, older)).toBeGreaterThan(0);
  });
  it("calls equal versions equal", () => {
    expect(compareVersions("6.1.192-1", "6.1.192-1")).toBe(0);
    expect(compareVersions("1.01", "1.1")).toBe(0);
  });
});

describe("choosePackages", () => {
  const offered = [
    { package: "linux-image-6.1.0-9-amd64", version: "6.1.27-1" },
    { package: "linux-image-6.1.0-56-amd64", version: "6.1.192-1" },
    { package: "linux-image-6.1.0-56-amd64-unsigned", version: "6.1.192-1" },
    { package: "linux-image-6.1.0-56-amd64-dbg", version: "6.1.192-1" },
    { package: "linux-image-6.1.0-55-cloud-amd64", version: "6.1.190-1" },
    { package: "linux-image-6.1.0-54-rt-amd64", version: "6.1.180-1" },
    { package: "linux-image-6.12.117+deb13-amd64", version: "6.12.117-1" },
    { package: "linux-image-6.12.63+deb13+1-rt-amd64", version: "6.12.63-1" },
    { package: "linux-image-7.2.13+deb14-cloud-amd64", version: "7.2.13-1" },
    { package: "linux-image-7.3~rc7-amd64", version: "7.3~rc7-1" },
    { package: "linux-image-6.1.0-56-arm64", version: "6.1.192-1" },
    { package: "linux-image-amd64", version: "6.1.192-1" },
  ].map((offer) => ({ ...offer, suite: "some" }));
  const choose = (alias: string) => choosePackages(findFlavour(alias)!, offered).map((found) => found.package);

  it("puts the newest first and keeps the flavours apart", () => {
    expect(choose("6.1")).toEqual(["linux-image-6.1.0-56-amd64", "linux-image-6.1.0-9-amd64"]);
    expect(choose("6.1-cloud")).toEqual(["linux-image-6.1.0-55-cloud-amd64"]);
    expect(choose("6.1-rt")).toEqual(["linux-image-6.1.0-54-rt-amd64"]);
    expect(choose("6.12")).toEqual(["linux-image-6.12.117+deb13-amd64"]);
    expect(choose("6.12-rt")).toEqual(["linux-image-6.12.63+deb13+1-rt-amd64"]);
    expect(choose("7")).toEqual(["linux-image-7.3~rc7-amd64"]);
    expect(choose("7-cloud")).toEqual(["linux-image-7.2.13+deb14-cloud-amd64"]);
  });
  it("is empty when a suite lost the kernel", () => {
    expect(choose("5.10")).toEqual([]);
  });
  it("knows twelve flavours and no other alias", () => {
    expect(flavours).toHaveLength(12);
    expect(findFlavour("6.2")).toBeUndefined();
  });
});

describe("worthTrying", () => {
  it("tries the newest three, then the newest that each suite has", () => {
    const offers = ["9 new", "8 new", "7 new", "6 new", "5 old", "4 old"].map((offer) => {
      const [version, suite] = offer.split(" ");
      return { package: "p", version, suite };
    });
    expect(worthTrying(offers).map(({ version }) => version)).toEqual(["9", "8", "7", "5"]);
    expect(worthTrying(offers.slice(0, 1))).toHaveLength(1);
    expect(worthTrying([])).toEqual([]);
  });
});

describe("packageParts", () => {
  it("names the packages of a split kernel", () => {
    expect(packageParts("linux-image-7.2.13+deb14-amd64")).toEqual([
      "linux-image-7.2.13+deb14-amd64",
      "linux-binary-7.2.13+deb14-amd64",
      "linux-modules-7.2.13+deb14-amd64",
      "linux-base-7.2.13+deb14-amd64",
    ]);
  });
});
