// A .deb or .rpm as a folder of files: distributions ship kernels, modules and debug symbols in them, and nobody
// should have to install one to read a dump.
import { detectCodec, unpackChunks } from "../../bytes/decompress/index.ts";
import { UnsupportedError } from "../../bytes/errors.ts";
import { BufferSource, type ByteSource } from "../../bytes/source.ts";
import { ChunkReader } from "./chunk-reader.ts";
import { cpioMembers } from "./cpio.ts";
import type { OpenMember, PackageMember } from "./member.ts";
import { debPayload, type PackageKind, packageKind, rpmPayload } from "./payload.ts";
import { tarMembers } from "./tar.ts";

export type { PackageMember } from "./member.ts";
export { packageKind } from "./payload.ts";

/** Members are looked at up to this many; the largest kernel packages have 15,000. */
const MEMBERS_MAX = 500_000;

export interface PackageSource {
  readonly name: string;
  readonly kind: PackageKind;
  /**
   * Lists all members and unpacks those that are wanted, in one pass over the package. The archive is one packed
   * stream, so asking for all that is needed at once is much cheaper than asking again.
   * @param wanted decides by path and kind; only files have contents
   * @throws FormatError, TruncatedError, UnsupportedError, MissingError (codec not prepared)
   */
  read(wanted: (member: PackageMember) => boolean): PackageContents;
}

export interface PackageContents {
  readonly members: readonly PackageMember[];
  /** Unpacked files by path; a source's name is "PACKAGE: PATH". */
  readonly files: ReadonlyMap<string, ByteSource>;
}

/** @throws UnsupportedError when the source is neither a .deb nor an .rpm */
export function openPackage(source: ByteSource): PackageSource {
  const kind = packageKind(source);
  if (kind === undefined) throw new UnsupportedError(source.name, "a file that is neither a .deb nor an .rpm");
  return {
    name: source.name,
    kind,
    read(wanted) {
      const members: PackageMember[] = [];
      const files = new Map<string, ByteSource>();
      for (const member of walk(source, kind)) {
        const { path, size, target } = member;
        members.push({ path, size, kind: member.kind, target });
        if (member.kind === "file" && wanted(member)) {
          files.set(path, new BufferSource(`${source.name}: ${path}`, member.read()));
        }
        if (members.length >= MEMBERS_MAX)
          throw new UnsupportedError(source.name, `a package of ${MEMBERS_MAX} members`);
      }
      return { members, files };
    },
  };
}

function* walk(source: ByteSource, kind: PackageKind): Generator<OpenMember, void> {
  const payload = kind === "deb" ? debPayload(source) : rpmPayload(source);
  const codec = detectCodec(payload.read(0, Math.min(9, payload.size)));
  const chunks = unpackChunks(codec, payload);
  try {
    const reader = new ChunkReader(chunks, payload.name);
    yield* kind === "deb" ? tarMembers(reader) : cpioMembers(reader);
  } finally {
    chunks.return();
  }
}
