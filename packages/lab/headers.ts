// Brings what modules of a cached kernel are built with: its linux-headers packages and kbuild's tools, unpacked in the
// lab's cache and not installed. The tools of a newer Debian run here through that Debian's own C library.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Apt } from "./apt.ts";
import { isLibrary, newest, throughLoader, unpack, unpackLibraries } from "./beside.ts";
import { run } from "./command.ts";
import { UnavailableError } from "./errors.ts";
import { type Kernel, kernelKey, requireFlavour, withApt } from "./kernels.ts";
import { withLock } from "./lock.ts";
import { cacheFolder, fillFolder } from "./paths.ts";

/** Packages that a headers package needs and that hold files which a build reads. */
const NEEDED = /^linux-(headers|kbuild)-/;
/** The tools of kbuild that a module's build runs. */
const TOOL = /^(fixdep|modpost|objtool|recordmcount|genksyms|gendwarfksyms)(\.real-(lsb-64|x86))?$/;
/** What a program says that was linked against a newer C library, or against a library that is not here. */
const CANNOT_RUN = /GLIBC_\d|error while loading shared libraries/;
const anyCode = Array.from({ length: 257 }, (_, index) => index - 1);

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
  const libraries = (await unpack(apt, parts, folder)).filter(isLibrary);
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
  await unpackLibraries(apt, libraries, folder);
  for (const tool of strangers) throughLoader(tool, folder, target);
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
