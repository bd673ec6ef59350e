import { expect, test } from "vitest";
import { globExpression } from "./pattern.ts";

test.each<[string, string, boolean]>([
  ["vfs_*", "vfs_write", true],
  ["*_write", "vfs_write", true],
  ["*", "", true],
  ["", "x", false],
  ["v?s", "vfs", true],
  ["v?s", "vs", false],
  ["*a*b", "xaxbxb", true],
  ["*a*b", "xaxbxc", false],
  ["a.c", "abc", false],
  ["a+b[c]", "a+b[c]", true],
  ["(x|y)*", "x", false],
])("%s of %s", (pattern, name, fits) => {
  expect(globExpression(pattern).test(name)).toBe(fits);
});

test("many stars cost no more than pattern times name", () => {
  const slow = globExpression(`${"*a".repeat(40)}b`);
  const start = process.cpuUsage().user;
  for (let i = 0; i < 1000; i++) slow.test("a".repeat(500));
  expect((process.cpuUsage().user - start) / 1e6).toBeLessThan(20);
});
