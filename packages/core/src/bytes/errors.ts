// The few kinds of error of the library. Each carries data and states neutral facts; advice and the next
// command to try are added by the command line, which tells the kinds apart by class, never by text.

export abstract class PalimpsestError extends Error {
  abstract readonly kind: "format" | "truncated" | "address" | "missing" | "unsupported";
  override get name(): string {
    return this.constructor.name;
  }
}

/** Bytes that break the rules of their format. `where` is "FILE: PART+0xOFFSET". */
export class FormatError extends PalimpsestError {
  readonly kind = "format";
  constructor(
    readonly where: string,
    readonly problem: string,
  ) {
    super(`${where}: ${problem}`);
  }
}

/** A read past the end of what there is. */
export class TruncatedError extends PalimpsestError {
  readonly kind = "truncated";
  constructor(
    readonly where: string,
    readonly wanted: number,
    readonly available: number,
  ) {
    super(
      available < 0
        ? `${where}: lies ${-available} bytes past the end`
        : `${where}: needs ${wanted} bytes, only ${available} are there`,
    );
  }
}

/** An address that the dump cannot answer for. `level` names the page table level, or "page" for absent data. */
export class AddressError extends PalimpsestError {
  readonly kind = "address";
  constructor(
    readonly address: bigint,
    readonly level: "canonical" | "pgd" | "p4d" | "pud" | "pmd" | "pte" | "page",
    readonly problem: string,
  ) {
    super(`0x${address.toString(16)}: ${problem} (${level})`);
  }
}

/** Something needed that is not there; `supply` says which flag, file or package would supply it. */
export class MissingError extends PalimpsestError {
  readonly kind = "missing";
  constructor(
    readonly what: string,
    readonly supply?: string,
  ) {
    super(supply ? `${what} is missing; ${supply}` : `${what} is missing`);
  }
}

/** Well-formed input of a kind that Palimpsest does not know. */
export class UnsupportedError extends PalimpsestError {
  readonly kind = "unsupported";
  constructor(
    readonly where: string,
    readonly feature: string,
  ) {
    super(`${where}: ${feature} is not supported`);
  }
}
