// Opens a kernel module as it lies under /lib/modules: a .ko, bare or packed, signed or not.
import { decompress, detectCodec } from "../bytes/decompress/index.ts";
import { isElf } from "../bytes/elf.ts";
import { FormatError, UnsupportedError } from "../bytes/errors.ts";
import { BufferSource, type ByteSource } from "../bytes/source.ts";
import { checkHasCode, openElf } from "./elf-file.ts";
import { readBuildId } from "./identity.ts";
import type { OpenImageOptions } from "./kernel-image.ts";
import { moduleNameOf } from "./module-name.ts";
import { checkSections } from "./section-check.ts";
import type { ElfFile, ModuleImage } from "./types.ts";

const ET_REL = 1;
const MODINFO_MAX = 1 << 20;
/** No module is larger, debug information included (amdgpu.ko of a debug build: 150 MiB). */
const MODULE_LIMIT = 192 << 20;
const latin1 = new TextDecoder("latin1");

/**
 * Opens a module. The signature that may be appended ("~Module signature appended~") lies behind the ELF file and
 * is not looked at.
 * @throws FormatError, TruncatedError, UnsupportedError (no module), MissingError (codec not prepared)
 */
export function openModuleImage(source: ByteSource, options: OpenImageOptions = {}): ModuleImage {
  const elf = openElf(unpackModule(source, options));
  if (elf.header.type !== ET_REL) {
    throw new FormatError(`${elf.source.name}: ELF header+0x10`, `type ${elf.header.type} is no module's (1)`);
  }
  checkHasCode(elf);
  checkSections(elf);
  const info = readModinfo(elf);
  return {
    path: source.name,
    name: info.get("name") ?? nameInDescriptor(elf) ?? moduleNameOf(source.name) ?? source.name,
    elf,
    buildId: readBuildId(elf),
    vermagic: info.get("vermagic"),
  };
}

function unpackModule(source: ByteSource, options: OpenImageOptions): ByteSource {
  if (isElf(source)) return source;
  const codec = detectCodec(source.read(0, Math.min(9, source.size)));
  if (codec === undefined) throw new UnsupportedError(source.name, "a file that is no ELF module, packed or not,");
  const packed = source.read(0, source.size);
  const limit = options.limit ?? MODULE_LIMIT;
  const elf = new BufferSource(source.name, decompress(codec, packed, { name: source.name, limit }));
  if (!isElf(elf)) throw new FormatError(source.name, `the ${codec} data unpacks to something that is no ELF file`);
  return elf;
}

/** "key=value" strings of .modinfo (include/linux/moduleparam.h); of a repeated key the first. */
function readModinfo(elf: ElfFile): Map<string, string> {
  const info = new Map<string, string>();
  const section = elf.section(".modinfo");
  if (section === undefined || section.size > MODINFO_MAX) return info;
  for (const line of latin1.decode(elf.bytes(section)).split("\0")) {
    const at = line.indexOf("=");
    const key = line.slice(0, at);
    if (at > 0 && !info.has(key)) info.set(key, line.slice(at + 1));
  }
  return info;
}

/**
 * The name in the struct module that the module brings along. Modules before v4.14 have no "name=" in .modinfo; the
 * name is then the first thing in .gnu.linkonce.this_module that is not zero, since pointers are still relocations.
 */
function nameInDescriptor(elf: ElfFile): string | undefined {
  const section = elf.section(".gnu.linkonce.this_module");
  if (section === undefined) return undefined;
  const bytes = elf.bytes(section).subarray(0, 4096);
  const start = bytes.findIndex((byte) => byte !== 0);
  if (start < 0) return undefined;
  return /^[A-Za-z0-9_]+(?=\0)/.exec(latin1.decode(bytes.subarray(start, start + 64)))?.[0];
}
