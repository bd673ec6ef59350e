// Brings real Xen into the cache: hypervisor, its tools and a dom0 made of Debian packages, with a Debian kernel. Packages
// are unpacked, never installed: no root, no chroot, no mount. dom0's root is an initramfs of the files that its programs need.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type Apt, openApt } from "../apt.ts";
import { run } from "../command.ts";
import { type CpioEntry, writeCpio } from "../cpio.ts";
import { LabError, UnavailableError } from "../errors.ts";
import { findFlavour, type PackageVersion } from "../flavours.ts";
import { fetchKernel, type Kernel } from "../kernels.ts";
import { withLock } from "../lock.ts";
import { checkout } from "../measure.ts";
import { ModuleTree } from "../modules.ts";
import { cacheFolder, fillFolder, shortDigest } from "../paths.ts";
import { dom0Init } from "./dom0-script.ts";
import { closure, resolveInTree } from "./elf-closure.ts";

/** dom0's own kernel: the one that is known to come up as dom0 of an emulated Xen. */
const DOM0_FLAVOUR = "6.1";
const DOM0_MODULES = [
  ...["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"],
  ...["xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs"],
];
/** What a setup and a session write at most. */
const SETUP_BYTES = 2 * 2 ** 30;
const LIBRARIES = "/usr/lib/x86_64-linux-gnu";
/** What the device model and hvmloader put into an HVM guest, and the keys without which the device model does not start. */
const FIRMWARE = /^((bios.*|kvmvapic|linuxboot.*|vgabios.*)\.bin|en-us)$/;
const FIRMWARE_FOLDERS = ["usr/share/qemu", "usr/share/qemu/keymaps", "usr/share/seabios"];

/** A Xen in the cache; also the content of its setup.json. */
export interface XenSetup {
  readonly folder: string;
  /** Debian's package version: "4.17.7+13-…". */
  readonly version: string;
  /** "4.17". */
  readonly series: string;
  readonly dom0Release: string;
  /** What dom0 loads, in this order. */
  readonly modules: readonly string[];
}

/** @throws LabError when the file system of `folder` has less than `bytes` free */
export function requireSpace(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= bytes) return;
  const megabytes = (count: number) => `${Math.round(count / 2 ** 20)} MiB`;
  throw new LabError(
    `${folder}: ${megabytes(free)} free, ${megabytes(bytes)} needed; remove dumps that you do not need`,
  );
}

/** The Xen of the cache, made now when it is not there. `note` gets a line for each step. */
export async function setupXen(note: (line: string) => void): Promise<XenSetup> {
  const kernel = await fetchKernel(DOM0_FLAVOUR, note);
  return withLock(join(cacheFolder("locks"), "xen-setup"), async () => {
    const folder = join(cacheFolder("xen"), `dom0-${shortDigest(recipe(kernel))}`);
    if (!existsSync(join(folder, "setup.json"))) {
      requireSpace(cacheFolder("xen"), SETUP_BYTES);
      await fillFolder(folder, (temporary) => build(kernel, temporary, note));
    }
    return readSetup(folder);
  });
}

/** The Xen of the cache, or undefined; nothing is fetched or made. */
export function cachedSetup(): XenSetup | undefined {
  const root = cacheFolder("xen");
  const found = readdirSync(root).find((name) => existsSync(join(root, name, "setup.json")));
  return found === undefined ? undefined : readSetup(join(root, found));
}

/** dom0's initramfs with its init script: a second archive behind the first, as the kernel takes it. */
export function dom0Archive(setup: XenSetup): Uint8Array {
  const script = dom0Init(setup.modules, `/usr/lib/xen-${setup.series}/bin`, [LIBRARIES]);
  const init = writeCpio([{ path: "init", mode: 0o100755, data: Buffer.from(script) }]);
  return Buffer.concat([readFileSync(join(setup.folder, "dom0.cpio")), init]);
}

function readSetup(folder: string): XenSetup {
  const facts = JSON.parse(readFileSync(join(folder, "setup.json"), "utf8")) as Omit<XenSetup, "folder">;
  return { ...facts, folder };
}

/** Everything that shapes dom0 beside Xen's packages. Its init script goes in with each session. */
function recipe(kernel: Kernel): string {
  const shim = readFileSync(shimSource, "utf8");
  return JSON.stringify([
    kernel.package,
    kernel.version,
    DOM0_MODULES,
    programsOf(""),
    String(FIRMWARE),
    FIRMWARE_FOLDERS,
    shim,
  ]);
}

/** Paths of the programs that dom0 runs, and of what hvmloader is. */
function programsOf(series: string): string[] {
  const tools = ["xl", "xenstored", "xenconsoled", "xen-init-dom0", "xenctx", "libxl-save-helper"];
  return [
    ...tools.map((name) => `usr/lib/xen-${series}/bin/${name}`),
    ...["usr/bin/xenstore-read", "usr/libexec/xen-qemu-system-i386", `usr/lib/xen-${series}/boot/hvmloader`],
  ];
}

const shimSource = join(checkout, "packages", "lab", "xen", "skip-holes.c");

async function build(kernel: Kernel, folder: string, note: (line: string) => void): Promise<void> {
  const suites = findFlavour(DOM0_FLAVOUR)?.suites ?? [];
  const work = mkdtempSync(join(folder, "work-"));
  try {
    const tree = join(work, "tree");
    const version = await withLock(join(cacheFolder("locks"), `apt-${suites.join("+")}`), async () => {
      const apt = await openApt(suites);
      return unpackXen(apt, work, tree, note);
    });
    const series = readdirSync(join(tree, "usr/lib")).flatMap((name) => /^xen-(\d+\.\d+)$/.exec(name)?.[1] ?? [])[0];
    if (series === undefined) throw new LabError("xen-utils holds no /usr/lib/xen-VERSION");
    const image = readdirSync(join(tree, "boot")).find((name) => name === `xen-${series}-amd64.gz`);
    if (!image)
      throw new LabError(`the hypervisor's package has no xen-${series}-amd64.gz: tools and hypervisor differ`);
    writeFileSync(join(folder, "xen"), gunzipSync(readFileSync(join(tree, "boot", image))));
    copyFileSync(join(kernel.folder, "vmlinuz"), join(folder, "vmlinuz"));
    const modules = await writeDom0(kernel, tree, series, work, join(folder, "dom0.cpio"));
    const facts = { version, series, dom0Release: kernel.release, modules };
    writeFileSync(join(folder, "setup.json"), `${JSON.stringify(facts, null, 1)}\n`);
    note(`Xen ${version} with dom0 ${kernel.release}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Downloads Xen's packages with all that they depend on and unpacks them; the hypervisor's version. */
async function unpackXen(apt: Apt, work: string, tree: string, note: (line: string) => void): Promise<string> {
  const utils = (await apt.offered("^xen-utils-[0-9.]+$")).map((candidate) => candidate.package);
  const series = utils.map((name) => name.replace("xen-utils-", "")).sort((a, b) => Number(b) - Number(a))[0];
  if (series === undefined)
    throw new UnavailableError("xen", `apt offers no xen-utils${apt.complaint ? `: ${apt.complaint}` : ""}`);
  const hypervisor = `xen-hypervisor-${series}-amd64`;
  const wanted = [
    `xen-utils-${series}`,
    "xenstore-utils",
    "qemu-system-xen",
    hypervisor,
    "busybox-static",
    "libgcc-s1",
  ];
  const packages = await apt.needed(wanted);
  note(`${packages.length} packages for Xen ${series} and its dom0`);
  const debs = join(work, "debs");
  mkdirSync(debs);
  mkdirSync(tree);
  for (const deb of await apt.download(packages, debs, 900)) {
    await run("dpkg-deb", ["-x", deb, tree], { timeoutSeconds: 300 });
    rmSync(deb);
  }
  return (packages.find(({ package: name }) => name === hypervisor) as PackageVersion).version;
}

/** dom0's root as an initramfs: programs with their libraries, and modules, whose names it returns in load order. */
async function writeDom0(
  kernel: Kernel,
  tree: string,
  series: string,
  work: string,
  target: string,
): Promise<string[]> {
  const files = closure(tree, programsOf(series));
  const busybox = ["bin/busybox", "usr/bin/busybox"].map((path) => join(tree, path)).find(existsSync);
  if (!busybox) throw new LabError("busybox-static holds no busybox");
  files.set("bin/busybox", busybox);
  for (const folder of FIRMWARE_FOLDERS) {
    const present = existsSync(join(tree, folder)) ? readdirSync(join(tree, folder)) : [];
    for (const name of present.filter((file) => FIRMWARE.test(file))) {
      const source = join(tree, resolveInTree(tree, join(folder, name)));
      if (existsSync(source)) files.set(join(folder, name), source);
    }
  }
  const shim = join(work, "skip-holes.so");
  await run("gcc", ["-O2", "-shared", "-fPIC", "-o", shim, shimSource, "-ldl"], { timeoutSeconds: 60 });
  files.set("usr/lib/skip-holes.so", shim);
  const { modules, missing } = await new ModuleTree(join(kernel.folder, "lib", "modules", kernel.release)).resolve(
    DOM0_MODULES,
  );
  if (missing.length > 0) throw new LabError(`${kernel.package} lacks what dom0 needs: ${missing.join(", ")}`);
  const entries: CpioEntry[] = [
    ...[...files].map(([path, source]) => ({ path, mode: 0o100755, data: readFileSync(source) })),
    ...modules.map(({ name, bytes }) => ({ path: `mod/${name}.ko`, mode: 0o100644, data: bytes })),
  ];
  writeFileSync(target, writeCpio([...foldersOf(entries), ...entries]));
  return modules.map(({ name }) => name);
}

/** Every folder that the entries lie in, each before what lies in it. */
function foldersOf(entries: readonly CpioEntry[]): CpioEntry[] {
  const folders = new Set<string>(["var", "etc", "tmp", "root", "dev", "usr", "usr/bin", "usr/sbin", "sbin"]);
  for (const { path } of entries) {
    const parts = path.split("/").slice(0, -1);
    for (let depth = 1; depth <= parts.length; depth++) folders.add(parts.slice(0, depth).join("/"));
  }
  return [...folders].sort().map((path) => ({ path, mode: 0o040755 }));
}
