// Builds .deb and .rpm files byte by byte, for the tests of this room and of those that open packages.

export const bytesOf = (text: string) => new TextEncoder().encode(text);
export const join = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const padded = (bytes: Uint8Array, to: number) => join(bytes, new Uint8Array((to - (bytes.length % to)) % to));

export function tarMember(
  path: string,
  type: string,
  data: Uint8Array,
  more: { target?: string; prefix?: string } = {},
) {
  const header = new Uint8Array(512);
  const put = (at: number, text: string) => header.set(bytesOf(text), at);
  put(0, path);
  put(124, `${data.length.toString(8).padStart(11, "0")}\0`);
  put(156, type);
  put(157, more.target ?? "");
  put(257, "ustar\x0000");
  put(345, more.prefix ?? "");
  return join(header, padded(data, 512));
}

export function deb(tar: Uint8Array, name = "data.tar") {
  const member = (file: string, data: Uint8Array) =>
    join(bytesOf(`${file.padEnd(48)}${String(data.length).padEnd(10)}\`\n`), padded(data, 2));
  return join(
    bytesOf("!<arch>\n"),
    member("debian-binary", bytesOf("2.0\n")),
    member("control.tar", bytesOf("x")),
    member(name, tar),
  );
}

export function cpioMember(path: string, mode: number, data: Uint8Array) {
  const hex = (value: number) => value.toString(16).padStart(8, "0");
  const name = bytesOf(`${path}\0`);
  const fields = [1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  return join(padded(join(bytesOf(`070701${fields.map(hex).join("")}`), name), 4), padded(data, 4));
}

export function rpm(payload: Uint8Array) {
  const header = (entries: number, store: number) =>
    join(
      Uint8Array.of(0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, entries, 0, 0, 0, store),
      new Uint8Array(16 * entries + store),
    );
  const lead = new Uint8Array(96);
  lead.set([0xed, 0xab, 0xee, 0xdb]);
  return join(lead, padded(header(1, 5), 8), header(2, 3), payload);
}
