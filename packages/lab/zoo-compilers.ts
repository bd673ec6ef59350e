// The compilers of the zoo. One that this machine has serves as it is; the gcc of another Debian is unpacked in the lab's
// cache and runs through that Debian's C library. It drives this machine's assembler, and kbuild this machine's linker.
import { chmodSync, existsSync, lstatSync, mkdirSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { openApt } from "./apt.ts";
import { isLibrary, newest, throughLoader, unpack, unpackLibraries } from "./beside.ts";
import { run } from "./command.ts";
import { LabError, UnavailableError } from "./errors.ts";
import { withLock } from "./lock.ts";
import { cacheFolder, fillFolder } from "./paths.ts";
import type { CompilerName } from "./zoo.ts";

export interface Compiler {
  /** What it says of itself: "gcc-12 (Debian 12.2.0-14) 12.2.0". */
  readonly about: string;
  /** Variables that make kbuild use it. */
  readonly make: readonly string[];
}

/** gcc's major number in each Debian. */
const gccOf = { bookworm: 12, trixie: 14 } as const;
const TRIPLET = "x86_64-linux-gnu";
const anyCode = Array.from({ length: 257 }, (_, index) => index - 1);

/** @throws UnavailableError when the suite does not offer it; LabError saying what to install */
export async function findCompiler(name: CompilerName, note: (line: string) => void): Promise<Compiler> {
  if (name === "clang-16") return clang("16");
  const suite = name === "gcc-trixie" ? "trixie" : "bookworm";
  const program = `gcc-${gccOf[suite]}`;
  if (await answers(program)) return { about: await firstLine(program), make: [`CC=${program}`, "HOSTCC=gcc"] };
  const path = await gccBeside(suite, note);
  return { about: await firstLine(path), make: [`CC=${path}`, "HOSTCC=gcc"] };
}

async function clang(version: string): Promise<Compiler> {
  const missing: string[] = [];
  for (const [tool, from] of [
    ["clang", "clang"],
    ["ld.lld", "lld"],
    ["llvm-ar", "llvm"],
  ] as const) {
    if (!(await answers(`${tool}-${version}`))) missing.push(`${from}-${version}`);
  }
  if (missing.length > 0) throw new LabError(`clang ${version} is wanted; try: apt-get install ${missing.join(" ")}`);
  return { about: await firstLine(`clang-${version}`), make: [`LLVM=-${version}`, "HOSTCC=gcc"] };
}

async function answers(program: string): Promise<boolean> {
  try {
    return (await run(program, ["--version"], { timeoutSeconds: 60, accept: anyCode })).exitCode === 0;
  } catch (error) {
    if (error instanceof LabError) return false;
    throw error;
  }
}

async function firstLine(program: string): Promise<string> {
  const { stdout } = await run(program, ["--version"], { timeoutSeconds: 60 });
  return stdout.toString().split("\n")[0];
}

/** The path of a script that runs that Debian's gcc. */
async function gccBeside(suite: keyof typeof gccOf, note: (line: string) => void): Promise<string> {
  const major = gccOf[suite];
  const target = join(cacheFolder("compilers"), `${suite}-gcc-${major}`);
  const script = join(target, "bin", `gcc-${major}`);
  return withLock(join(cacheFolder("locks"), `compiler-${suite}`), async () => {
    if (existsSync(script)) return script;
    note(`gcc ${major} of ${suite}: unpacking it beside this machine's`);
    await withLock(join(cacheFolder("locks"), `apt-${suite}`), async () => {
      const apt = await openApt([suite]);
      const parts = ["gcc", "cpp"].flatMap((part) => [
        `${part}-${major}`,
        `${part}-${major}-${TRIPLET.replace("_", "-")}`,
      ]);
      const offered = await newest(apt, [...parts, `libgcc-${major}-dev`]);
      if (offered.length === 0) throw new UnavailableError(`gcc-${major}`, `${suite} does not offer it now`);
      await fillFolder(target, async (folder) => {
        // The compiler proper's libraries are enough: those of the driver are the sanitizers' and the like.
        await unpack(
          apt,
          offered.filter((each) => !each.package.startsWith("cpp-")),
          folder,
        );
        const needed = await unpack(
          apt,
          offered.filter((each) => each.package.startsWith("cpp-")),
          folder,
        );
        await unpackLibraries(apt, ["libc6", ...needed.filter(isLibrary)], folder);
        arrange(folder, target, major);
      });
    });
    return script;
  });
}

/** Puts scripts in the places of driver and compiler proper, and the driver's under bin/. */
function arrange(folder: string, target: string, major: number): void {
  const inner = ["usr/libexec/gcc", "usr/lib/gcc"]
    .map((each) => join(each, TRIPLET, String(major)))
    .find((each) => existsSync(join(folder, each, "cc1")));
  const driver = realFile(join(folder, "usr", "bin", `gcc-${major}`));
  if (inner === undefined || driver === undefined) throw new LabError(`gcc ${major}: its packages hold no compiler`);
  throughLoader(join(folder, inner, "cc1"), folder, target);
  throughLoader(driver, folder, target);
  // Where the driver looks before anywhere else: for cc1, and for the folder of headers that it brings.
  const first = join(folder, "first");
  mkdirSync(first);
  symlinkSync(join(target, inner, "cc1"), join(first, "cc1"));
  symlinkSync(join(target, "usr", "lib", "gcc", TRIPLET, String(major), "include"), join(first, "include"));
  mkdirSync(join(folder, "bin"));
  const script = join(folder, "bin", `gcc-${major}`);
  writeFileSync(script, `#!/bin/sh\nexec '${driver.replace(folder, target)}' -B'${join(target, "first")}/' "$@"\n`);
  chmodSync(script, 0o755);
}

/** The file that a link leads to, links cut after a few: those of a package may be relative. */
function realFile(path: string): string | undefined {
  let at = path;
  for (let step = 0; step < 4; step++) {
    if (!existsSync(at)) return undefined;
    if (!lstatSync(at).isSymbolicLink()) return at;
    at = resolve(dirname(at), readlinkSync(at));
  }
  return undefined;
}
