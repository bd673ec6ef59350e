// `demo`: the main job on the specimens that ship with palimpsest (tiny kernels, booted on paper), each command shown as a
// user would type it.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { fail } from "../failure.ts";
import { note, print } from "../terminal.ts";
import { COULD_NOT } from "./common.ts";

/** @param run one run of the command line; sets process.exitCode */
export function registerDemo(program: Command, run: (args: readonly string[]) => Promise<void>): void {
  program
    .command("demo")
    .description("diagnoses the specimens that ship: a tampered kernel, a kernel that hangs, its healthy twin")
    .option("--keep <dir>", "write the specimens there and keep them")
    .action((options: { readonly keep?: string }) => demo(options.keep, run));
}

async function demo(keep: string | undefined, run: (args: readonly string[]) => Promise<void>): Promise<void> {
  const before = process.cwd();
  let folder = keep;
  try {
    const { demos } = await import("../../../specimen/demos.ts");
    folder ??= mkdtempSync(join(tmpdir(), "palimpsest-demo-"));
    const root = resolve(folder);
    let status = 0;
    for (const { name, title, make, commands } of demos) {
      const place = join(root, name);
      const specimen = make();
      mkdirSync(join(place, "modules"), { recursive: true });
      writeFileSync(join(place, "vmcore"), specimen.dump);
      writeFileSync(join(place, "vmlinuz"), specimen.vmlinuz);
      for (const [file, bytes] of specimen.modules) writeFileSync(join(place, "modules", file), bytes);
      print(`\n# ${title}\n`);
      process.chdir(place);
      for (const command of commands) {
        print(`\n$ palimpsest ${command.args.join(" ")}\n`);
        await run(command.args);
        if (process.exitCode === command.status) continue;
        note(`palimpsest: exit status ${process.exitCode}, expected ${command.status}`);
        status = COULD_NOT;
      }
    }
    if (keep !== undefined) note(`palimpsest: the specimens are in ${root}`);
    process.exitCode = status;
  } catch (error) {
    fail(error, false);
  } finally {
    process.chdir(before);
    if (keep === undefined && folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}
