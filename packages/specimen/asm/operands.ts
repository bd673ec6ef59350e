// Operands of the specimen's assembly text (Intel order). Symbols stay names: the linker resolves them.
import * as iced from "iced-x86";

export type Operand =
  | { readonly kind: "reg"; readonly register: number; readonly name: string; readonly bits: number }
  | { readonly kind: "imm"; readonly value: bigint; readonly symbol?: string }
  | {
      readonly kind: "mem";
      readonly base: number;
      readonly index: number;
      readonly scale: number;
      readonly displacement: bigint;
      readonly symbol?: string;
      /** [abs symbol]: no base, 32-bit signed absolute; the "ff 14 25" form of a call */
      readonly absolute: boolean;
      readonly segment: number;
      readonly bits: number;
    }
  | { readonly kind: "label"; readonly name: string };

const SIZES: Readonly<Record<string, number>> = { byte: 8, word: 16, dword: 32, qword: 64 };
const R = iced.Register as unknown as Readonly<Record<string, number>>;

function registerBits(name: string): number {
  if (/^r(\d+|[a-z]{2})$/.test(name)) return 64;
  if (/^(e[a-z]{2}|r\d+d)$/.test(name)) return 32;
  if (/^([a-d]x|[sd]i|[sb]p|r\d+w|[cdefgs]s)$/.test(name)) return 16;
  if (/^cr\d$/.test(name)) return 64;
  return 8;
}

function register(name: string): number | undefined {
  const key = name.replace(/^(r\d+)b$/, "$1l").toUpperCase();
  return /^[A-Z]/.test(key) && typeof R[key] === "number" ? R[key] : undefined;
}

function number(text: string): bigint | undefined {
  if (!/^-?(0x[0-9a-f]+|\d+)$/i.test(text)) return undefined;
  return text.startsWith("-") ? -BigInt(text.slice(1)) : BigInt(text);
}

function memory(inside: string, bits: number, segment: number): Operand {
  let base = R.None;
  let index = R.None;
  let scale = 1;
  let displacement = 0n;
  let symbol: string | undefined;
  let absolute = false;
  const text = inside.replace(/^abs\s+/, () => {
    absolute = true;
    return "";
  });
  for (const raw of text.replaceAll("-", "+-").split("+")) {
    const term = raw.trim();
    if (term === "") continue;
    const scaled = /^(\w+)\*([1248])$/.exec(term);
    const value = number(term);
    const reg = register(scaled?.[1] ?? term);
    if (scaled && reg !== undefined) {
      index = reg;
      scale = Number(scaled[2]);
    } else if (value !== undefined) displacement += value;
    else if (reg === undefined) symbol = term;
    else if (base === R.None) base = reg;
    else index = reg;
  }
  return { kind: "mem", base, index, scale, displacement, symbol, absolute, segment, bits };
}

/** One operand: "rax", "5", "$symbol+8", "dword [rdi+rcx*4+16]", "gs:[rip+symbol]", "[abs symbol]", "label". */
export function parseOperand(text: string): Operand {
  const hint = /^(byte|word|dword|qword)\s+(.*)$/.exec(text);
  const rest = hint?.[2] ?? text;
  const mem = /^(?:(gs|fs|ds|cs):)?\[(.*)\]$/.exec(rest);
  if (mem) return memory(mem[2], hint ? SIZES[hint[1]] : 0, mem[1] ? R[mem[1].toUpperCase()] : R.None);
  const reg = register(rest);
  if (reg !== undefined) return { kind: "reg", register: reg, name: rest, bits: registerBits(rest) };
  const value = number(rest);
  if (value !== undefined) return { kind: "imm", value };
  const address = /^\$([\w.]+)(?:\+(0x[0-9a-f]+|\d+))?$/i.exec(rest);
  if (address) return { kind: "imm", value: BigInt(address[2] ?? 0), symbol: address[1] };
  return { kind: "label", name: rest };
}
