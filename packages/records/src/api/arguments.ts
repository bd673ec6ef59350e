// What a client sends, held against what the service declares: nothing undeclared comes in, everything has its type.
import { InvalidError } from "../errors.ts";
import type { Operation, Parameter, ResourceType, Value } from "./definition.ts";

/** An argument after it was checked: a link is the path below the version ("ubuntu/+source/linux"). */
export type Argument = string | number | boolean | Date | null | readonly string[] | Upload;

export interface Upload {
  readonly fileName: string | undefined;
  readonly contentType: string | undefined;
  readonly bytes: Uint8Array;
}

export type Arguments = ReadonlyMap<string, Argument>;

/** Raw form or query values by name; a name may come more than once. */
export type RawArguments = ReadonlyMap<string, readonly (string | Upload)[]>;

/** @throws InvalidError "content: Required input is missing." */
export function checkArguments(operation: Operation, raw: RawArguments): Arguments {
  const out = new Map<string, Argument>();
  for (const parameter of operation.parameters) {
    const values = raw.get(parameter.name);
    if (values === undefined || values.length === 0) {
      if (parameter.required) throw new InvalidError(parameter.name, "Required input is missing.");
      continue;
    }
    const value = argument(parameter, values);
    if (value === null && parameter.required) throw new InvalidError(parameter.name, "Required input is missing.");
    out.set(parameter.name, value);
  }
  return out;
}

function argument({ name, value }: Parameter, raw: readonly (string | Upload)[]): Argument {
  const first = raw[0]!;
  if (value.is === "binary") {
    return typeof first === "string"
      ? { fileName: undefined, contentType: undefined, bytes: Buffer.from(first) }
      : first;
  }
  const texts = raw.map((each) => (typeof each === "string" ? each : Buffer.from(each.bytes).toString("utf8")));
  if (value.is === "list" && texts.length > 1) return texts.map((each) => String(decode(each)));
  return checkValue(name, value, decode(texts[0]!));
}

/** The client sends JSON, a person with curl plain text: both are taken. */
function decode(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @throws InvalidError naming the field */
export function checkValue(name: string, type: Value, value: unknown): Argument {
  if (value === null) return null;
  switch (type.is) {
    case "text":
      if (typeof value === "string") return value;
      if (typeof value === "number" || typeof value === "boolean") return String(value);
      throw new InvalidError(name, "Expected a string.");
    case "int": {
      const number = typeof value === "string" && /^-?\d{1,10}$/.test(value) ? Number(value) : value;
      if (typeof number === "number" && Number.isSafeInteger(number)) return number;
      throw new InvalidError(name, "Expected a whole number.");
    }
    case "bool":
      if (typeof value === "boolean") return value;
      if (value === "True" || value === "on" || value === 1) return true;
      if (value === "False" || value === "" || value === 0) return false;
      throw new InvalidError(name, "Expected true or false.");
    case "date":
      return checkDate(name, value);
    case "list": {
      const list = Array.isArray(value) ? value : [value];
      if (list.length <= 1000 && list.every((each) => typeof each === "string" || typeof each === "number")) {
        return list.map(String);
      }
      throw new InvalidError(name, "Expected a list of strings.");
    }
    case "choice":
      if (typeof value === "string" && type.options.includes(value)) return value;
      throw new InvalidError(
        name,
        `Invalid value "${String(value).slice(0, 80)}". Acceptable values are: ${type.options.join(", ")}`,
      );
    case "link":
      if (typeof value === "string" && value !== "") return linkPath(value);
      throw new InvalidError(name, "Expected a link.");
    default:
      throw new InvalidError(name, "This value cannot be set.");
  }
}

function checkDate(name: string, value: unknown): Date {
  if (typeof value === "string" && /^\d{4}-\d\d-\d\d([T ][\d:.]+)?(Z|[+-]\d\d:?\d\d)?$/.test(value)) {
    const zoned = /T.*(Z|[+-]\d\d:?\d\d)$/.test(value.replace(" ", "T"));
    const date = new Date(
      zoned ? value.replace(" ", "T") : `${value.replace(" ", "T")}${value.length > 10 ? "Z" : ""}`,
    );
    if (!Number.isNaN(date.getTime())) return date;
  }
  throw new InvalidError(name, "Value doesn't look like a date.");
}

/** "http://host/1.0/ubuntu/+source/linux", "/ubuntu" and "ubuntu" all name ubuntu. */
function linkPath(link: string): string {
  const path = /^https?:\/\//.test(link) ? new URL(link).pathname : link;
  return decodeURIComponent(path.replace(/^\/(?:(?:api\/)?(?:1\.0|devel|beta)(?:\/|$))?/, "").replace(/\/$/, ""));
}

/** @throws InvalidError with Launchpad's words */
export function checkPatch(type: ResourceType, body: unknown): Arguments {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new InvalidError("", "Expected a JSON hash.");
  }
  const out = new Map<string, Argument>();
  for (const [name, value] of Object.entries(body)) {
    if (["self_link", "web_link", "resource_type_link", "http_etag"].includes(name)) {
      continue; // sent along by a client that writes the whole entry
    }
    const field = type.fields.find((each) => each.name === name);
    if (field === undefined) throw new InvalidError(name, "You tried to modify a nonexistent attribute.");
    if (!field.writable) throw new InvalidError(name, "You tried to modify a read-only attribute.");
    out.set(name, checkValue(name, field.value, value));
  }
  return out;
}
