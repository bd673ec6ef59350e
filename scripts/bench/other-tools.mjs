// The same dump in the tools that people use today: crash to its first prompt, drgn to all of the kernel's text read.
// Neither gives a verdict; both need the vmlinux with debug information that palimpsest does without.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { installed, measure } from "./measure.mjs";

const here = dirname(fileURLToPath(import.meta.url));

export function run({ runs, kernel, dump, note }) {
  const debugImage = join(kernel, "vmlinux-debug");
  const missingImage = existsSync(debugImage)
    ? undefined
    : "needs the kernel's debug image: npm run bench -- --fetch-debug";
  const tool = (name, program, package_, work) => {
    note(name);
    if (!installed(program)) return { name, problem: `${program} is not installed; try: apt-get install ${package_}` };
    return missingImage ? { name, problem: missingImage } : work();
  };
  const crash = "crash, elf: start, sys, quit";
  const drgn = "drgn, elf-paging: open, read all text";
  return [
    tool(crash, "crash", "crash", () =>
      measure(crash, runs, ["crash", "-s", debugImage, join(dump, "vmcore.elf")], {
        input: "sys\nquit\n",
        env: { HOME: "/nonexistent", TERM: "dumb" }, // no .crashrc
        expect: /RELEASE: 6\./,
      }),
    ),
    // drgn 0.0.22 opens this one of QEMU's formats only.
    tool(drgn, "drgn", "python3-drgn", () => {
      const command = [
        "drgn",
        "-q",
        "-c",
        join(dump, "vmcore.elf-paging"),
        "-s",
        debugImage,
        join(here, "read-text.py"),
      ];
      return measure(drgn, runs, command, { expect: /^text \d{8,}$/m });
    }),
  ];
}
