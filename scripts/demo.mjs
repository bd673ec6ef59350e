// `npm run demo`: makes the specimens that ship with the project (tiny kernels, booted on paper) in a temporary folder and
// runs the main job on them, showing each command as a user would type it.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { demos } from "../dist/specimen.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = mkdtempSync(join(tmpdir(), "palimpsest-demo-"));
let failed = false;
try {
  for (const demo of demos) {
    const specimen = demo.make();
    const place = join(folder, demo.name);
    mkdirSync(join(place, "modules"), { recursive: true });
    writeFileSync(join(place, "vmcore"), specimen.dump);
    writeFileSync(join(place, "vmlinuz"), specimen.vmlinuz);
    for (const [name, bytes] of specimen.modules) writeFileSync(join(place, "modules", name), bytes);
    console.log(`\n# ${demo.title}`);
    for (const { args, status } of demo.commands) {
      console.log(`\n$ palimpsest ${args.join(" ")}`);
      const result = spawnSync(process.execPath, [join(root, "bin", "palimpsest.js"), ...args], {
        cwd: place,
        stdio: ["ignore", "inherit", "inherit"],
        timeout: 120_000,
      });
      if (result.status !== status) {
        console.error(`demo: exit status ${result.status ?? result.signal}, expected ${status}`);
        failed = true;
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
