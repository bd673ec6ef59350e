// Where the payload lies in a .deb (an ar archive, deb(5)) and in an .rpm (lead, two headers, payload).
import { Cursor } from "../../bytes/cursor.ts";
import { FormatError, MissingError } from "../../bytes/errors.ts";
import { type ByteSource, SubSource } from "../../bytes/source.ts";

const AR_MAGIC = "!<arch>\n";
const AR_HEADER = 60;
const RPM_LEAD = 96;
const RPM_LEAD_MAGIC = 0xdbeeabed;
const RPM_HEADER_MAGIC = 0x01e8ad8e;
const AR_MEMBERS_MAX = 64;

export type PackageKind = "deb" | "rpm";

/** By content: "deb", "rpm" or undefined. */
export function packageKind(source: ByteSource): PackageKind | undefined {
  if (source.size < RPM_LEAD) return undefined;
  const c = new Cursor(source.read(0, 8), source.name);
  if (c.text(8) === AR_MAGIC) return "deb";
  return c.seek(0).u32() === RPM_LEAD_MAGIC ? "rpm" : undefined;
}

/** The member data.tar.* of a .deb, still packed. @throws MissingError without one, FormatError, TruncatedError */
export function debPayload(source: ByteSource): ByteSource {
  let at = AR_MAGIC.length;
  for (let i = 0; i < AR_MEMBERS_MAX && at + AR_HEADER <= source.size; i++) {
    const c = new Cursor(source.read(at, AR_HEADER), `${source.name}: ar header`, at);
    const name = c.text(16).replace(/[ /]+$/, "");
    const size = c.seek(48).text(10).trimEnd();
    if (c.text(2) !== "`\n" || !/^\d+$/.test(size)) throw c.error("no ar header", 0);
    if (name.startsWith("data.tar"))
      return new SubSource(`${source.name}: ${name}`, source, at + AR_HEADER, Number(size));
    at += AR_HEADER + Number(size) + (Number(size) % 2);
  }
  throw new MissingError(`data.tar in ${source.name}`);
}

/** The cpio payload of an .rpm, still packed. @throws FormatError, TruncatedError */
export function rpmPayload(source: ByteSource): ByteSource {
  const signatures = headerEnd(source, RPM_LEAD, "signature header");
  const end = headerEnd(source, Math.ceil(signatures / 8) * 8, "header");
  return new SubSource(`${source.name}: payload`, source, end, source.size - end);
}

/** File offset behind the rpm header structure at `at`. */
function headerEnd(source: ByteSource, at: number, part: string): number {
  if (at + 16 > source.size) throw new FormatError(`${source.name}: ${part}`, "the file ends before it");
  const c = new Cursor(source.read(at, 16), `${source.name}: ${part}`);
  if (c.u32() !== RPM_HEADER_MAGIC) throw c.error("no rpm header magic", 0);
  const be32 = () => ((c.u8() << 24) | (c.u8() << 16) | (c.u8() << 8) | c.u8()) >>> 0;
  c.skip(4);
  const entries = be32();
  const end = at + 16 + 16 * entries + be32();
  if (end > source.size) throw c.error(`ends at ${end}, behind the file of ${source.size} bytes`, 8);
  return end;
}
