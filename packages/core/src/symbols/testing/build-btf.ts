// Builds BTF blobs for tests and made-up dumps: the caller lists types, whose numbers start at 1 (or behind the
// base's), and this packs them with their strings.
export interface FixtureType {
  /** BTF_KIND_* */
  readonly kind: number;
  readonly name?: string;
  /** `size` or `type` of struct btf_type */
  readonly value?: number;
  readonly flag?: boolean;
  readonly vlen?: number;
  /** what follows: numbers are u32, strings become offsets into the string section */
  readonly rest?: readonly (number | string)[];
}

export interface BtfFixtureOptions {
  /** [info_sz, elem_sz] for kinds 0, 1, …, as 7.1 tells them in a longer header */
  readonly layout?: readonly (readonly [number, number])[];
  /** length of the base's string section, for split BTF */
  readonly firstString?: number;
}

export function buildBtf(types: readonly FixtureType[], options: BtfFixtureOptions = {}): Uint8Array {
  const { layout, firstString = 0 } = options;
  const strings: number[] = firstString === 0 ? [0] : [];
  const known = new Map<string, number>();
  const text = (name: string): number => {
    if (name === "") return 0;
    let at = known.get(name);
    if (at === undefined) {
      at = firstString + strings.length;
      known.set(name, at);
      for (const char of name) strings.push(char.charCodeAt(0));
      strings.push(0);
    }
    return at;
  };
  const words: number[] = [];
  for (const type of types) {
    const info = (type.vlen ?? 0) | (type.kind << 24) | (type.flag ? 1 << 31 : 0);
    words.push(text(type.name ?? ""), info >>> 0, type.value ?? 0);
    for (const word of type.rest ?? []) words.push(typeof word === "string" ? text(word) : word >>> 0);
  }
  const typeLength = words.length * 4;
  const layoutBytes = (layout ?? []).flatMap(([fixed, each]) => [fixed, each, 0, 0]);
  const headerLength = layout === undefined ? 24 : 32;
  const bytes = new Uint8Array(headerLength + typeLength + layoutBytes.length + strings.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xeb9f, true);
  bytes[2] = 1;
  [headerLength, 0, typeLength, typeLength + layoutBytes.length, strings.length].forEach((value, i) => {
    view.setUint32(4 + i * 4, value, true);
  });
  if (layout !== undefined) {
    view.setUint32(24, typeLength, true);
    view.setUint32(28, layoutBytes.length, true);
  }
  words.forEach((word, i) => {
    view.setUint32(headerLength + i * 4, word, true);
  });
  bytes.set(layoutBytes, headerLength + typeLength);
  bytes.set(strings, headerLength + typeLength + layoutBytes.length);
  return bytes;
}
