// Turns what was asked for into a guest that can be booted: its kernel looked at, modules found and ordered, the lab's own
// modules built, the init script written.
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { readElfHeader, readSections } from "../../core/src/bytes/elf.ts";
import { BufferSource } from "../../core/src/bytes/source.ts";
import { LabError } from "../errors.ts";
import type { GuestModule } from "../guest.ts";
import type { Kernel } from "../kernels.ts";
import { ModuleTree } from "../modules.ts";
import { ownModules } from "../own-modules.ts";
import { lateSteps, type PatchTable, xenInitScript } from "./guest-script.ts";
import type { PreparedGuest, XenGuest } from "./types.ts";

/** A kernel that a guest boots: of the lab's cache, or a file of the user's. */
export interface GuestKernel {
  /** Flavour, or "file". */
  readonly flavour: string;
  readonly release: string;
  readonly vmlinuz: string;
  /** lib/modules/RELEASE, when there is one. */
  readonly modules: string | undefined;
  readonly config: string | undefined;
  /** Of the cache: the lab's own modules can be built for it. */
  readonly cached: Kernel | undefined;
}

export function kernelOfCache(kernel: Kernel): GuestKernel {
  return {
    flavour: kernel.flavour,
    release: kernel.release,
    vmlinuz: join(kernel.folder, "vmlinuz"),
    modules: join(kernel.folder, "lib", "modules", kernel.release),
    config: join(kernel.folder, "config"),
    cached: kernel,
  };
}

/** `--kernel FILE --modules DIR`. @throws LabError when either is not there */
export function kernelOfFile(file: string, modules: string | undefined): GuestKernel {
  if (!existsSync(file)) throw new LabError(`--kernel ${file}: no such file`);
  if (modules !== undefined && !existsSync(modules)) throw new LabError(`--modules ${modules}: no such folder`);
  const version = bzImageVersion(readFileSync(file));
  if (version === undefined) throw new LabError(`--kernel ${file}: not a bzImage (no "HdrS" at 0x202)`);
  const config = [join(modules ?? "", "config"), file.replace(/vmlinuz/, "config")].find(
    (path) => path !== file && existsSync(path),
  );
  return { flavour: "file", release: version, vmlinuz: file, modules, config, cached: undefined };
}

/** The release that a bzImage names in its setup header (Documentation/arch/x86/boot.rst, kernel_version at 0x20e). */
export function bzImageVersion(image: Uint8Array): string | undefined {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.byteLength);
  if (bytes.length < 0x210 || bytes.toString("latin1", 0x202, 0x206) !== "HdrS") return undefined;
  const at = bytes.readUInt16LE(0x20e) + 0x200;
  return bytes.toString("latin1", at, at + 128).split(/[ \0]/)[0];
}

/** Options of a kernel's configuration that a guest type cannot do without. */
const NEEDED: Readonly<Record<XenGuest["type"], readonly string[]>> = {
  hvm: ["CONFIG_XEN", "CONFIG_XEN_PVHVM"],
  pvh: ["CONFIG_XEN", "CONFIG_XEN_PVH"],
};

/** What the kernel lacks for this guest type, from its configuration; empty also when there is none to look at. */
export function lacksXen(config: string, type: XenGuest["type"]): string[] {
  return NEEDED[type].filter((option) => !new RegExp(`^${option}=y$`, "m").test(config));
}

/**
 * Everything that the guest needs. `note` gets a line for modules that the package lacks.
 * @throws LabError when the kernel has no support for Xen guests of this type, or there is nothing to build modules against
 */
export async function prepareGuest(
  kernel: GuestKernel,
  guest: XenGuest,
  note: (line: string) => void,
): Promise<PreparedGuest> {
  if (kernel.config !== undefined && existsSync(kernel.config)) {
    const lacking = lacksXen(readFileSync(kernel.config, "utf8"), guest.type);
    if (lacking.length > 0)
      throw new LabError(
        `${kernel.release} cannot be a Xen ${guest.type.toUpperCase()} guest: it lacks ${lacking.join(", ")}`,
      );
  }
  const { modules, missing } =
    kernel.modules === undefined
      ? { modules: [], missing: [...guest.modules] }
      : await new ModuleTree(kernel.modules).resolve(guest.modules);
  if (missing.length > 0) note(`${kernel.release} has no module ${missing.join(", ")}`);
  let own: GuestModule[] = [];
  if (guest.late) {
    if (!kernel.cached)
      throw new LabError(
        `${basename(kernel.vmlinuz)}: a late switch needs a kernel of the lab, whose headers can be had`,
      );
    if (guest.vcpus < 2) throw new LabError("a late switch takes two vCPUs: one to hold the lock, one to wait");
    own = await ownModules(kernel.cached, ["late_switch", "late_user"], note);
  }
  const user = own.find(({ name }) => name === "late_user");
  const steps = guest.late ? lateSteps(guest.late, user && patchTable(user)) : "";
  const script = xenInitScript(
    modules.map(({ name }) => name),
    guest.vcpus,
    steps,
  );
  return { ...guest, vmlinuz: kernel.vmlinuz, release: kernel.release, given: [...modules, ...own], script };
}

/** The module's table of paravirt sites, which the kernel's patcher takes once more. Gone since 6.8: alternatives then. */
export function patchTable(module: GuestModule): PatchTable | undefined {
  const source = new BufferSource(`${module.name}.ko`, module.bytes);
  const section = readSections(source, readElfHeader(source)).find(({ name }) => name === ".parainstructions");
  return section && { section: section.name, bytes: Number(section.size), parameter: "paravirt" };
}
