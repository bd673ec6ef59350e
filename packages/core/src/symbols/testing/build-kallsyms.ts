// Builds kallsyms tables as scripts/kallsyms.c lays them out in each era, for tests and for made-up dumps. Tokens
// are the plain characters and a few pairs: enough for every path of the readers.
export interface FixtureSymbol {
  readonly name: string;
  readonly type: string;
  readonly address: bigint;
}

export interface KallsymsFixture {
  readonly bytes: Uint8Array;
  readonly base: bigint;
  /** Addresses of the tables by their symbols' names, e.g. "kallsyms_names". */
  readonly at: Readonly<Record<string, bigint>>;
}

export interface FixtureOptions {
  /**
   * "3.0": absolute addresses, u64 markers; "5.10": offsets first; "6.2": the same, seqs behind the markers;
   * "6.12": offsets behind the tokens; "7.0": place-relative.
   */
  readonly era: "3.0" | "5.10" | "6.2" | "6.12" | "7.0";
  readonly symbols: readonly FixtureSymbol[];
  /** Address of the first byte; a multiple of 4096. */
  readonly base?: bigint;
  /** Lengths of 128 and more in two bytes (6.1 on). */
  readonly bigSymbols?: boolean;
  /** Bytes of other data around the tables. */
  readonly padding?: number;
}

const PAIRS = ["in", "er", "_s", "lock", "Tsys_"];

/** Names are compressed greedily with the few pairs above; unused tokens are their own character. */
export function buildKallsyms(options: FixtureOptions): KallsymsFixture {
  const { era, symbols, base = 0xffffffff82000000n, bigSymbols = true, padding = 64 } = options;
  const tokens = Array.from({ length: 256 }, (_, i) => {
    const code = i >= 0x20 && i < 0x7f ? String.fromCharCode(i) : "";
    return i >= 200 && i < 200 + PAIRS.length ? PAIRS[i - 200] : code;
  });
  const names: number[] = [];
  const marks: number[] = [];
  symbols.forEach((symbol, i) => {
    if (i % 256 === 0) marks.push(names.length);
    const codes = compress(symbol.type + symbol.name);
    if (codes.length >= 0x80 && bigSymbols) names.push((codes.length & 0x7f) | 0x80, codes.length >> 7);
    else names.push(codes.length);
    names.push(...codes);
  });
  const tokenBytes: number[] = [];
  const tokenStarts: number[] = [];
  for (const token of tokens) {
    tokenStarts.push(tokenBytes.length);
    for (const c of token) tokenBytes.push(c.charCodeAt(0));
    tokenBytes.push(0);
  }

  const out: number[] = Array.from({ length: padding }, (_, i) => (i * 37) & 0xff);
  const at: Record<string, bigint> = {};
  const label = (name: string) => {
    while (out.length % 8 !== 0) out.push(0);
    at[`kallsyms_${name}`] = base + BigInt(out.length);
  };
  const put = (value: bigint, size: number) => {
    for (let i = 0n; i < size; i++) out.push(Number((BigInt.asUintN(64, value) >> (8n * i)) & 0xffn));
  };
  const relativeBase = symbols.find((s) => s.address >= 1n << 63n)?.address ?? 0n;
  const putRows = () => {
    if (era === "3.0") {
      label("addresses");
      for (const symbol of symbols) put(symbol.address, 8);
      return;
    }
    label("offsets");
    for (const symbol of symbols) {
      const own = base + BigInt(out.length);
      if (era === "7.0") put(symbol.address - own, 4);
      else put(symbol.address < 1n << 32n ? symbol.address : relativeBase - 1n - symbol.address, 4);
    }
    if (era === "7.0") return;
    label("relative_base");
    put(relativeBase, 8);
  };
  const putNames = () => {
    label("num_syms");
    put(BigInt(symbols.length), era === "3.0" ? 8 : 4);
    label("names");
    for (const byte of names) out.push(byte);
    label("markers");
    for (const mark of marks) put(BigInt(mark), era === "3.0" ? 8 : 4);
  };
  const putSeqs = () => {
    label("seqs_of_names");
    for (let i = 0; i < symbols.length; i++) out.push((i * 7) & 0xff, (i * 3) & 0xff, i & 3);
  };
  const putTokens = () => {
    label("token_table");
    for (const byte of tokenBytes) out.push(byte);
    label("token_index");
    for (const start of tokenStarts) put(BigInt(start), 2);
  };
  if (era === "6.12" || era === "7.0") {
    putNames();
    putTokens();
    putRows();
    putSeqs();
  } else {
    putRows();
    putNames();
    if (era === "6.2") putSeqs();
    putTokens();
  }
  for (let i = 0; i < padding; i++) out.push((i * 91) & 0xff);
  return { bytes: Uint8Array.from(out), base, at };
}

function compress(text: string): number[] {
  const codes: number[] = [];
  for (let i = 0; i < text.length; ) {
    const pair = PAIRS.findIndex((p) => text.startsWith(p, i));
    codes.push(pair >= 0 ? 200 + pair : text.charCodeAt(i));
    i += pair >= 0 ? PAIRS[pair].length : 1;
  }
  return codes;
}

/** Enough symbols for three markers: two per-CPU ones, then functions and data from `start` on, some of them twice. */
export function sampleSymbols(start = 0xffffffff81000000n, percpu = true): FixtureSymbol[] {
  const symbols: FixtureSymbol[] = percpu
    ? [
        { name: "fixed_percpu_data", type: "A", address: 0n },
        { name: "cpu_number", type: "A", address: 0x1c0n },
      ]
    : [];
  symbols.push({ name: "_text", type: "T", address: start }, { name: "_stext", type: "T", address: start });
  for (let i = 0; i < 700; i++) {
    symbols.push({ name: `sys_call_in_${i % 690}`, type: i % 2 ? "t" : "T", address: start + BigInt(16 + i * 16) });
  }
  symbols.push({ name: "_end", type: "B", address: start + 0x10000n });
  return symbols;
}
