// The door of the room: a file of any supported kind becomes a Dump. A new format is one file beside this one and one
// case here.
import type { PageInflater } from "../bytes/decompress/zlib-page.ts";
import { FormatError, PalimpsestError, UnsupportedError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";
import { openElfCore } from "./formats/elf-core.ts";
import { unflatten } from "./formats/flattened.ts";
import { hasZstdPages, openKdump } from "./formats/kdump.ts";
import { openLime } from "./formats/lime.ts";
import { openRaw } from "./formats/raw.ts";
import { describeFile, dumpKind } from "./identify.ts";
import { telling } from "./telling-memory.ts";
import type { Dump } from "./types.ts";

export interface OpenOptions {
  /** Unpacks the zlib pages of kdump files; the default runs everywhere, a host may have a faster one. */
  readonly inflate?: PageInflater;
}

/**
 * Opens a dump; its magic decides the format, and what has none is raw memory when a kernel is in it. Before pages packed with zstd are read, `await loadZstd()`.
 * @throws FormatError when it is no dump (saying what the file looks like) or breaks its format's rules; UnsupportedError
 *   for a dump of a kind or with a feature that is not read; TruncatedError when not even the headers are there
 */
export function openDump(source: ByteSource, options: OpenOptions = {}): Dump {
  return telling(openAny(source, options));
}

function openAny(source: ByteSource, options: OpenOptions): Dump {
  const kind = dumpKind(source);
  switch (kind) {
    case "elf":
      return openElfCore(source);
    case "kdump":
      return openKdump(source, "kdump", options.inflate);
    case "flattened":
      return openFlattened(source, options);
    case "lime":
    case "avml":
      return openLime(source);
    case "diskdump":
      throw new UnsupportedError(source.name, "a diskdump (before kdump, kernels up to 2.6.17)");
    case "windows":
      throw new UnsupportedError(source.name, "a Windows crash dump");
    case undefined: {
      const raw = openRaw(source);
      if (typeof raw === "string") throw new FormatError(source.name, `not a memory dump: ${raw}`);
      return raw;
    }
  }
}

/** Whether pages of this dump are packed with zstd, whose decoder is to be started before it is opened (`await loadZstd()`). */
export function needsZstd(source: ByteSource): boolean {
  try {
    const kind = dumpKind(source);
    if (kind === "kdump") return hasZstdPages(source);
    if (kind !== "flattened") return false;
    const inner = unflatten(source, []);
    return dumpKind(inner) === "kdump" && hasZstdPages(inner);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return false; // opening it says what is wrong
  }
}

function openFlattened(source: ByteSource, options: OpenOptions): Dump {
  const problems: string[] = [];
  const inner = unflatten(source, problems);
  const kind = dumpKind(inner);
  if (kind !== "elf" && kind !== "kdump") {
    throw new FormatError(source.name, `a flattened file that holds no dump, but ${describeFile(inner)}`);
  }
  const dump = kind === "kdump" ? openKdump(inner, "kdump", options.inflate) : openElfCore(inner);
  return new FlattenedDump(dump, source.size, problems);
}

/** The dump inside, with the size of the file that the user has. Delegates, since an ELF dump makes its segments late. */
class FlattenedDump implements Dump {
  readonly format: string;
  readonly incomplete: boolean;
  readonly problems: readonly string[];
  constructor(
    private readonly inner: Dump,
    readonly size: number,
    problems: readonly string[],
  ) {
    this.format = `${inner.format}-flattened`;
    this.incomplete = problems.length > 0 || inner.incomplete;
    this.problems = [...problems, ...inner.problems];
  }
  get path() {
    return this.inner.path;
  }
  get physical() {
    return this.inner.physical;
  }
  get vmcoreinfo() {
    return this.inner.vmcoreinfo;
  }
  get cpus() {
    return this.inner.cpus;
  }
  get notes() {
    return this.inner.notes;
  }
  get segments() {
    return this.inner.segments;
  }
  get header() {
    return this.inner.header;
  }
}
