// The door of the room: a file of any supported kind becomes a Dump. A new format is one file beside this one and one
// case here.
import { FormatError, UnsupportedError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";
import { openElfCore } from "./elf-core.ts";
import { describeFile, dumpKind } from "./identify.ts";
import type { Dump } from "./types.ts";

/**
 * Opens a dump; its magic decides the format.
 * @throws FormatError when it is no dump (saying what the file looks like) or breaks its format's rules; UnsupportedError
 *   for a dump of a kind or with a feature that is not read; TruncatedError when not even the headers are there
 */
export function openDump(source: ByteSource): Dump {
  const kind = dumpKind(source);
  switch (kind) {
    case "elf":
      return openElfCore(source);
    case "kdump":
      throw new UnsupportedError(source.name, "a kdump-compressed dump");
    case "flattened":
      throw new UnsupportedError(source.name, "a flattened kdump");
    case "lime":
      throw new UnsupportedError(source.name, "a LiME dump");
    case "avml":
      throw new UnsupportedError(source.name, "an AVML dump");
    case "diskdump":
      throw new UnsupportedError(source.name, "a diskdump (before kdump, kernels up to 2.6.17)");
    case "windows":
      throw new UnsupportedError(source.name, "a Windows crash dump");
    case undefined:
      throw new FormatError(source.name, `not a memory dump: ${describeFile(source)}`);
  }
}
