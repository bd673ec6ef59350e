import { describe, expect, it } from "vitest";
import { allConfig, baseConfig, refusedOptions } from "./zoo-config.ts";

describe("the zoo's configurations", () => {
  it("gives an option that changed its name under both, and the last of several lines", () => {
    expect(allConfig(["SMP=y", "RETPOLINE|MITIGATION_RETPOLINE=y", "?WERROR=n", "SMP=n"])).toBe(
      "CONFIG_SMP=n\nCONFIG_RETPOLINE=y\nCONFIG_MITIGATION_RETPOLINE=y\nCONFIG_WERROR=n\n",
    );
  });
  it.each([
    ["SMP=y", "CONFIG_SMP=y\n", []],
    ["SMP=y", "# CONFIG_SMP is not set\n", ["SMP=y"]],
    ["SMP=n", "# CONFIG_SMP is not set\n", []],
    ["SMP=n", "CONFIG_SMP=y\n", ["SMP=n"]],
    ["A|B=y", "CONFIG_B=y\n", []],
    ["A|B=y", "CONFIG_C=y\n", ["A|B=y"]],
    ["A|B=n", "CONFIG_B=y\n", ["A|B=n"]],
    ["?A=y", "", []],
    ["NR_CPUS=64", "CONFIG_NR_CPUS=8192\n", ["NR_CPUS=64"]],
    ["BLK_DEV_LOOP=m", "CONFIG_BLK_DEV_LOOP=y\n", ["BLK_DEV_LOOP=m"]],
    ['LOCALVERSION="-zoo"', 'CONFIG_LOCALVERSION="-zoo"\n', []],
  ])("%s in %j: refused %j", (line, config, refused) => {
    expect(refusedOptions([line], config)).toEqual(refused);
  });
  it("has a base of options that can all be read", () => {
    expect(refusedOptions(baseConfig, allConfig(baseConfig))).toEqual([]);
    expect(() => allConfig(["smp"])).toThrow('"smp" is no option');
  });
});
