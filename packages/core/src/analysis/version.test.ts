// The version is a constant in the code; package.json is what is published.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { TOOL, VERSION } from "./version.ts";

test("is package.json's", () => {
  const { name, version } = JSON.parse(readFileSync(new URL("../../../../package.json", import.meta.url), "utf8"));
  expect([TOOL, VERSION]).toEqual([`${name} ${version}`, version]);
});
