import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "fast",
          include: ["packages/**/*.test.ts", "test/fast/**/*.test.ts"],
          // Bounds what hangs, not what is slow: these tests also pass on a machine that is busy with other things.
          // No test changes what another could see (no state hides in modules), so that modules are loaded once, not 118 times.
          pool: "threads",
          isolate: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: "slow",
          include: ["test/slow/**/*.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 1_200_000,
        },
      },
    ],
  },
});
