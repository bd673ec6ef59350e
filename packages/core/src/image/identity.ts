// Who an ELF file is: the GNU build-id of its notes and, for a kernel, the banner that it prints at boot.
import { readNotes } from "../bytes/elf.ts";
import { PalimpsestError } from "../bytes/errors.ts";
import type { ElfFile } from "./types.ts";

const SHT_NOTE = 7;
const NT_GNU_BUILD_ID = 3;
const BANNER = "Linux version ";
const latin1 = new TextDecoder("latin1");

/** The GNU build-id in lower-case hex; undefined when there is none (kernels before 5.9 built without it). */
export function readBuildId(elf: ElfFile): string | undefined {
  for (const section of elf.sections) {
    if (section.type !== SHT_NOTE || section.size > 1 << 20) continue;
    try {
      const notes = readNotes(elf.bytes(section), `${elf.source.name}: ${section.name}`);
      const note = notes.find((n) => n.type === NT_GNU_BUILD_ID && n.name === "GNU");
      if (note !== undefined) return Array.from(note.desc, (b) => b.toString(16).padStart(2, "0")).join("");
    } catch (error) {
      if (!(error instanceof PalimpsestError)) throw error; // a broken note section only leaves the build-id unknown
    }
  }
  return undefined;
}

/** linux_banner (init/version.c): "Linux version 6.1.0-56-amd64 (…) … #1 SMP …", without its newline. */
export function findBanner(elf: ElfFile): string | undefined {
  let second: string | undefined;
  for (const name of [".rodata", ".init.data", ".data"]) {
    const section = elf.section(name);
    if (section === undefined) continue;
    for (const banner of bannersIn(elf.bytes(section))) {
      // Since v6.1 init/version.c keeps a weak banner without build number beside that of init/version-timestamp.c.
      if (/ #\d/.test(banner)) return banner;
      second ??= banner;
    }
  }
  return second;
}

function* bannersIn(bytes: Uint8Array): Iterable<string> {
  for (let at = bytes.indexOf(0x4c); at >= 0; at = bytes.indexOf(0x4c, at + 1)) {
    if (bytes[at + 1] !== 0x69 || bytes[at + 6] !== 0x76) continue; // "Li", "v"
    const match = /^Linux version \d[^\0\n]*/.exec(latin1.decode(bytes.subarray(at, at + 512)));
    if (match !== null) yield match[0];
  }
}

/** "6.1.0-56-amd64" out of a banner or of a boot header's version text. */
export function releaseOf(version: string | undefined): string | undefined {
  if (version === undefined) return undefined;
  const text = version.startsWith(BANNER) ? version.slice(BANNER.length) : version;
  return /^\d\S*/.exec(text)?.[0];
}
