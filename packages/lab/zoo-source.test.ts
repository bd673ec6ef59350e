import { describe, expect, it } from "vitest";
import { sourcePackages } from "./zoo-source.ts";

const offered = [
  ["linux-source-6.1", "6.1.192-3"],
  ["linux-source-6.1", "6.1.187-1"],
  ["linux-source-6.12", "6.12.117-1"],
  ["linux-source-7.2", "7.2.13-1"],
  ["linux-source-7.3", "7.3.2-1"],
  ["linux-source", "7.3.2-1"],
].map(([name, version]) => ({ package: name, version, suite: "sid" }));

describe("sourcePackages", () => {
  it.each([
    ["6.1", ["6.1.192-3", "6.1.187-1"]],
    ["6.12", ["6.12.117-1"]],
    ["7", ["7.3.2-1", "7.2.13-1"]],
    ["5.10", []],
  ])("finds those of %s, newest first", (series, versions) => {
    expect(sourcePackages(series, offered).map(({ version }) => version)).toEqual(versions);
  });
});
