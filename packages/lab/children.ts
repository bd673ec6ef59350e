// Emulators that run now: none outlives the lab, however it ends.
import type { ChildProcess } from "node:child_process";

/** Children that are killed when this process ends. */
export const running = new Set<ChildProcess>();

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
