// The main job on each format of the dump: the first time that a kernel's image is seen, and after that, when what
// was unpacked lies in the user's cache.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measure } from "./measure.mjs";

export function run({ root, runs, dump, note }) {
  const rows = [];
  const cache = mkdtempSync(join(tmpdir(), "palimpsest-bench-cache-"));
  const diagnose = (name, times, format, ...more) => {
    note(name);
    const image = ["--image", join(dump, "vmlinuz"), "--modules", join(dump, "modules")];
    const command = [process.execPath, join(root, "bin", "palimpsest.js"), "diagnose", join(dump, `vmcore.${format}`)];
    // Exit status 1 is "something found": for the bench the work was done all the same.
    const options = { env: { XDG_CACHE_HOME: cache }, expect: /"palimpsest\/diagnose\/1"/, exitCodes: [0, 1] };
    return measure(name, times, [...command, ...image, "--json", ...more], options);
  };
  try {
    rows.push({
      ...diagnose("diagnose, elf, first time (--no-cache)", runs, "elf", "--no-cache"),
      limit: "3.5 s, 600 MB",
    });
    diagnose("diagnose, filling the cache", 1, "elf");
    rows.push({ ...diagnose("diagnose, elf", runs, "elf"), base: true, limit: "1.3 s, 400 MB" });
    for (const format of ["elf-paging", "kdump-zlib", "kdump-plain"]) {
      rows.push(diagnose(`diagnose, ${format}`, runs, format));
    }
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
  return rows;
}
