// Reading JSON that somebody else wrote: every field is asked for with what it may be, and what it is not is told with its
// place in the file ("system.lock.length").
import { FormatError } from "../../bytes/errors.ts";

export class Field {
  constructor(
    private readonly value: unknown,
    /** "system.lock.length" */
    readonly path: string,
    /** the file's name, for messages */
    private readonly file: string,
  ) {}

  get isThere(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  /** @throws FormatError, always */
  refuse(wanted: string): never {
    const shown = this.value === undefined ? "nothing" : (JSON.stringify(this.value) ?? "nothing");
    const cut = shown.length > 40 ? `${shown.slice(0, 40)}…` : shown;
    throw new FormatError(this.file, `${this.path === "" ? "the file" : this.path} is ${cut}, not ${wanted}`);
  }

  /** A member of an object. @throws FormatError when this is none */
  at(name: string): Field {
    const { value } = this;
    if (typeof value !== "object" || value === null || Array.isArray(value)) return this.refuse("an object");
    const inner = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
    return new Field(inner, this.path === "" ? name : `${this.path}.${name}`, this.file);
  }

  names(): string[] {
    const { value } = this;
    if (typeof value !== "object" || value === null || Array.isArray(value)) return this.refuse("an object");
    return Object.keys(value);
  }

  list(most: number, least = 0): Field[] {
    const { value } = this;
    if (!Array.isArray(value)) return this.refuse("a list");
    if (value.length > most || value.length < least)
      throw new FormatError(this.file, `${this.path} has ${value.length} entries, not ${least} to ${most}`);
    return value.map((item: unknown, i) => new Field(item, `${this.path}[${i}]`, this.file));
  }

  integer(least: number, most: number): number {
    const { value } = this;
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
      return this.refuse(`an integer from ${least} to ${most}`);
    return value;
  }

  /** "0x…" of at most 64 bits */
  hex64(): bigint {
    const { value } = this;
    return typeof value === "string" && /^0x[0-9a-f]{1,16}$/i.test(value)
      ? BigInt(value)
      : this.refuse('an address ("0x…", at most 16 digits)');
  }

  /** { "hex": "…" }, or the digits alone */
  bytes(most: number): Uint8Array {
    const { value } = this;
    if (typeof value !== "string") return this.refuse("hex digits");
    if (!/^([0-9a-f]{2})*$/i.test(value)) return this.refuse("hex digits, two a byte");
    if (value.length > 2 * most)
      throw new FormatError(this.file, `${this.path} has ${value.length / 2} bytes, not at most ${most}`);
    return Uint8Array.from({ length: value.length / 2 }, (_, i) => Number.parseInt(value.slice(i * 2, i * 2 + 2), 16));
  }

  string(most = 10_000): string {
    const { value } = this;
    return typeof value === "string" && value.length <= most ? value : this.refuse("a text");
  }

  isText(text: string): boolean {
    return this.value === text;
  }

  boolean(): boolean {
    const { value } = this;
    return typeof value === "boolean" ? value : this.refuse("true or false");
  }

  oneOf<T extends string>(choices: readonly T[]): T {
    const found = choices.find((choice) => choice === this.value);
    return found ?? this.refuse(`one of ${choices.join(", ")}`);
  }

  /** What `read` makes of it; undefined where it is not there. */
  optional<T>(read: (field: Field) => T): T | undefined {
    return this.isThere ? read(this) : undefined;
  }
}
