// The file that --debug-info names: layouts out of its DWARF, and what ties it to the dump. A vmlinux proves itself by its
// build-id or banner, a module by its own build-id once the dump's modules are known.

import { UsageError } from "../../core/src/analysis/refusals.ts";
import { moduleBuildId } from "../../core/src/audit/identity.ts";
import { isElf } from "../../core/src/bytes/elf.ts";
import { type FormatError, MissingError, UnsupportedError } from "../../core/src/bytes/errors.ts";
import type { ByteSource } from "../../core/src/bytes/source.ts";
import { openElf } from "../../core/src/image/elf-file.ts";
import { findBanner, readBuildId } from "../../core/src/image/identity.ts";
import { moduleNameOf } from "../../core/src/image/module-name.ts";
import type { ElfFile } from "../../core/src/image/types.ts";
import type { Kernel } from "../../core/src/kernel/kernel.ts";
import type { GivenTypes, TypesContext } from "../../core/src/kernel/layouts/type-sources.ts";
import { openDwarf } from "../../core/src/symbols/dwarf/dwarf-types.ts";
import type { TypeTable } from "../../core/src/symbols/types.ts";

const ET_REL = 1;
const MODINFO_MAX = 1 << 20;
const ADVICE = "Give the vmlinux, or a module, that was built together with the kernel that ran.";

export class DebugInfo {
  private constructor(
    private readonly path: string,
    private readonly elf: ElfFile,
    readonly types: TypeTable,
  ) {}

  /** @throws UnsupportedError when it is no ELF file, MissingError when it has no DWARF; FormatError, TruncatedError */
  static open(source: ByteSource): DebugInfo {
    if (!isElf(source)) throw new UnsupportedError(source.name, "debug information in anything but an ELF file");
    const elf = openElf(source);
    const types = openDwarf(source);
    if (types === undefined) {
      throw new MissingError(
        `debug information (.debug_info) in ${source.name}`,
        "it takes a vmlinux or a module built with CONFIG_DEBUG_INFO",
      );
    }
    return new DebugInfo(source.name, elf, types);
  }

  /** The layouts, for openKernel(). @throws UsageError when the file is of another build */
  typesFor(context: TypesContext): GivenTypes {
    const proof = this.elf.header.type === ET_REL ? this.checkRelease(context) : this.proofOfCore(context);
    return { types: this.types, proof };
  }

  /** The refusal when the dump contradicts the layouts. */
  contradicted(error: FormatError): UsageError {
    return this.otherBuild(error.problem);
  }

  /** Holds a module's file against the loaded module. @throws UsageError when it is another build */
  checkModule(kernel: Kernel): void {
    if (this.elf.header.type !== ET_REL) return;
    const module = kernel.modules.find(({ name }) => name === moduleNameOf(this.path));
    const running = module && moduleBuildId(kernel, module);
    const own = readBuildId(this.elf);
    if (running === undefined || own === undefined || running === own) return;
    throw this.otherBuild(`its build-id is ${own}, that of the loaded module ${running}`);
  }

  private proofOfCore({ buildId, version, release }: TypesContext): string | undefined {
    const own = readBuildId(this.elf);
    if (own !== undefined && buildId !== undefined) {
      if (own === buildId) return `build-id ${own}`;
      throw this.otherBuild(`its build-id is ${own}, the dump's ${buildId} (${release})`);
    }
    const banner = findBanner(this.elf)?.trim();
    if (banner === undefined || version === "") return undefined;
    if (banner === version) return "the same linux_banner";
    throw this.otherBuild(`it is "${banner}", the dump runs "${version}"`);
  }

  /** A module names the release that it was built for; that alone proves nothing. */
  private checkRelease({ release }: TypesContext): undefined {
    const section = this.elf.section(".modinfo");
    if (section === undefined || section.size > MODINFO_MAX || release === "") return undefined;
    const own = /(?:^|\0)vermagic=([^\0 ]+)/.exec(new TextDecoder("latin1").decode(this.elf.bytes(section)))?.[1];
    if (own !== undefined && own !== release) {
      throw this.otherBuild(`it was built for release ${own}, the dump's is ${release}`);
    }
    return undefined;
  }

  private otherBuild(how: string): UsageError {
    return new UsageError(`${this.path} is debug information of another build: ${how}`, ADVICE, "mismatch");
  }
}
