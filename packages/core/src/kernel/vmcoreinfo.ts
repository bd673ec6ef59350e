// VMCOREINFO: the kernel's own "KEY=value" lines for dump readers (Documentation/admin-guide/kdump/vmcoreinfo.rst).
// Every value comes out of a dump, so nothing here is believed beyond its syntax.
import { type VirtualAddress, virtualAddress } from "../bytes/brand.ts";

export interface Vmcoreinfo {
  readonly text: string;
  get(key: string): string | undefined;
  /** SYMBOL(name) */
  symbol(name: string): VirtualAddress | undefined;
  /** NUMBER(name), decimal or 0x */
  number(name: string): bigint | undefined;
  /** KERNELOFFSET, bytes */
  readonly kernelOffset?: bigint;
  /** OSRELEASE */
  readonly release?: string;
  /** BUILD-ID, since 5.9 */
  readonly buildId?: string;
}

function parseHex(text: string | undefined): bigint | undefined {
  return text !== undefined && /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** Parses the text of a VMCOREINFO note; lines without "=" are ignored. */
export function parseVmcoreinfo(text: string): Vmcoreinfo {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const equals = line.indexOf("=");
    if (equals > 0) values.set(line.slice(0, equals), line.slice(equals + 1).trim());
  }
  const get = (key: string): string | undefined => values.get(key);
  const symbol = (name: string): VirtualAddress | undefined => {
    const value = parseHex(get(`SYMBOL(${name})`));
    return value === undefined ? undefined : virtualAddress(value);
  };
  const number = (name: string): bigint | undefined => {
    const value = get(`NUMBER(${name})`);
    return value !== undefined && /^-?(\d{1,20}|0x[0-9a-f]{1,16})$/i.test(value) ? BigInt(value) : undefined;
  };
  return {
    text,
    get,
    symbol,
    number,
    kernelOffset: parseHex(get("KERNELOFFSET")),
    release: get("OSRELEASE") || undefined,
    buildId: get("BUILD-ID") || undefined,
  };
}
