// Brings what modules of a cached kernel are built with: its linux-headers packages and kbuild's tools, unpacked in the
// lab's cache and not installed. The tools of a newer Debian run here through that Debian's own C library.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Apt } from "./apt.ts";
import { run } from "./command.ts";
import { compareVersions } from "./debian-version.ts";
import { LabError, UnavailableError } from "./errors.ts";
import type { PackageVersion } from "./flavours.ts";
import { type Kernel, kernelKey, requireFlavour, withApt } from "./kernels.ts";
import { withLock } from "./lock.ts";
import { cacheFolder, fillFolder } from "./paths.ts";

/** Packages that a headers package needs and that hold files which a build reads. */
const NEEDED = /^linux-(headers|kbuild)-/;
/** The tools of kbuild that a module's build runs. */
const TOOL = /^(fixdep|modpost|objtool|recordmcount|genksyms|gendwarfksyms)(\.real-(lsb-64|x86))?$/;
/** What a program says that was linked against a newer C library, or against a library that is not here. */
const CANNOT_RUN = /GLIBC_\d|error while loading shared libraries/;
const LIBRARY = /^(lib[a-z]|zlib)/;
/** Rounds of "and what these libraries need". */
const ROUNDS = 4;
const anyCode = Array.from({ length: 257 }, (_, index) => index - 1);

/** The package names in a Depends field, the first of each group of alternatives. */
export function dependencies(field: string): string[] {
  return field
    .split(",")
    .map((group) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(group)?.[1] ?? "")
    .filter((name) => name !== "");
}

/**
 * The folder for `make -C` that builds modules of `kernel`; downloaded once.
 * @throws UnavailableError when the suites do not offer the headers of this very version (any more)
 */
export async function fetchHeaders(kernel: Kernel, note: (line: string) => void): Promise<string> {
  const target = join(cacheFolder("headers"), kernelKey(kernel));
  const build = join(target, "usr", "src", `linux-headers-${kernel.release}`);
  return withLock(join(cacheFolder("locks"), `headers-${kernel.package}`), async () => {
    if (existsSync(build)) return build;
    const { apt } = await withApt(requireFlavour(kernel.flavour));
    await fillFolder(target, (temporary) => unpackHeaders(apt, kernel, temporary, target, note));
    return build;
  });
}

async function unpackHeaders(
  apt: Apt,
  kernel: Kernel,
  folder: string,
  target: string,
  note: (line: string) => void,
): Promise<void> {
  const name = `linux-headers-${kernel.release}`;
  const [main] = (await apt.versions([name])).filter(({ version }) => version === kernel.version);
  if (!main) throw new UnavailableError(kernel.flavour, `no ${name} ${kernel.version} is offered now`);
  const needed = (await unpack(apt, [main], folder)).filter((each) => NEEDED.test(each));
  const parts = await newest(apt, needed, kernel.version);
  const missing = needed.filter((each) => !parts.some((part) => part.package === each));
  if (missing.length > 0) throw new UnavailableError(kernel.flavour, `${missing.join(", ")}: not offered now`);
  const libraries = (await unpack(apt, parts, folder)).filter((each) => LIBRARY.test(each));
  const source = join(folder, "usr", "src");
  for (const headers of readdirSync(source).filter((each) => each.startsWith("linux-headers-"))) {
    // These files name each other by the places where dpkg would have put them.
    const makefile = join(source, headers, "Makefile");
    const text = readFileSync(makefile, "utf8");
    writeFileSync(makefile, text.replaceAll(/\/usr\/src\/linux-/g, `${target}/usr/src/linux-`));
  }
  const strangers = await toolsThatCannotRun(join(folder, "usr", "lib"));
  if (strangers.length === 0) return;
  note(`${kernel.release}: kbuild's tools need another C library than this machine's; bringing that too`);
  let wanted = libraries;
  for (let round = 0, seen = new Set<string>(); wanted.length > 0 && round < ROUNDS; round++) {
    for (const each of wanted) seen = seen.add(each);
    const further = await unpack(apt, await newest(apt, wanted), folder);
    wanted = further.filter((each) => LIBRARY.test(each) && !seen.has(each));
  }
  for (const tool of strangers) throughLoader(tool, folder, target);
}

/** Downloads packages and unpacks them into `folder`; the names of what they depend on. */
async function unpack(apt: Apt, packages: readonly PackageVersion[], folder: string): Promise<string[]> {
  const work = join(folder, "work");
  mkdirSync(work, { recursive: true });
  const names: string[] = [];
  for (const deb of await apt.download(packages, work)) {
    const field = await run("dpkg-deb", ["-f", deb, "Depends"], { timeoutSeconds: 60 });
    names.push(...dependencies(field.stdout.toString()));
    await run("dpkg-deb", ["-x", deb, folder], { timeoutSeconds: 300 });
  }
  rmSync(work, { recursive: true });
  return [...new Set(names)];
}

/** One version of each package: the one that is asked for where it is offered, else the newest. */
async function newest(apt: Apt, names: readonly string[], version?: string): Promise<PackageVersion[]> {
  const best = new Map<string, PackageVersion>();
  for (const each of await apt.versions(names)) {
    const known = best.get(each.package);
    if (known?.version === version && known !== undefined) continue;
    if (known === undefined || each.version === version || compareVersions(each.version, known.version) > 0)
      best.set(each.package, each);
  }
  return [...best.values()];
}

/** The tools under `folder` that this machine's C library is too old for, or that miss a library. */
async function toolsThatCannotRun(folder: string): Promise<string[]> {
  const out: string[] = [];
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const file = join(folder, path);
    if (!TOOL.test(basename(path)) || !path.includes("linux-kbuild-") || !isElf(file)) continue;
    // Without arguments each of them complains and ends.
    const { stderr } = await run(file, [], { timeoutSeconds: 20, accept: anyCode, cwd: folder });
    if (CANNOT_RUN.test(stderr)) out.push(file);
  }
  return out;
}

function isElf(file: string): boolean {
  try {
    return readFileSync(file).subarray(0, 4).equals(Buffer.from("\x7fELF", "latin1"));
  } catch {
    return false; // a folder, a dangling link
  }
}

/** Puts a script in a tool's place that runs it by the loader, and with the libraries, of its own Debian. */
function throughLoader(tool: string, folder: string, target: string): void {
  const loader = ["usr/lib64", "lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
    .map((each) => join(each, "ld-linux-x86-64.so.2"))
    .find((each) => existsSync(join(folder, each)));
  if (loader === undefined) throw new LabError(`${basename(tool)}: its C library brought no loader`);
  const places = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map((each) => join(target, each)).join(":");
  const real = join(dirname(tool), `.${basename(tool)}.elf`);
  renameSync(tool, real);
  const placed = real.replace(folder, target);
  writeFileSync(tool, `#!/bin/sh\nexec '${join(target, loader)}' --library-path '${places}' '${placed}' "$@"\n`);
  chmodSync(tool, 0o755);
}
