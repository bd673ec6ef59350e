// Launchpad's words and their stored numbers (bugs/interfaces/bugtask.py, read for facts): order is by number.
import { InvalidError } from "../errors.ts";

export const STATUS = {
  New: 10,
  IncompleteWithResponse: 13,
  IncompleteWithoutResponse: 14,
  Opinion: 16,
  Invalid: 17,
  WontFix: 18,
  Expired: 19,
  Confirmed: 20,
  Triaged: 21,
  InProgress: 22,
  Deferred: 23,
  FixCommitted: 25,
  FixReleased: 30,
  DoesNotExist: 35,
  Unknown: 999,
} as const;

/** What a reader sees of a status. */
const STATUS_TITLES: ReadonlyMap<number, string> = new Map([
  [10, "New"],
  [13, "Incomplete"],
  [14, "Incomplete"],
  [16, "Opinion"],
  [17, "Invalid"],
  [18, "Won't Fix"],
  [19, "Expired"],
  [20, "Confirmed"],
  [21, "Triaged"],
  [22, "In Progress"],
  [23, "Deferred"],
  [25, "Fix Committed"],
  [30, "Fix Released"],
  [35, "Does Not Exist"],
  [999, "Unknown"],
]);
export const STATUS_NAMES: readonly string[] = [...new Set(STATUS_TITLES.values())];
/** Searches tell the two kinds of Incomplete apart. */
export const SEARCH_STATUSES: readonly string[] = [
  ...STATUS_NAMES,
  "Incomplete (with response)",
  "Incomplete (without response)",
];
export const OPEN_STATUSES: readonly number[] = [10, 13, 14, 20, 21, 22, 23, 25];

const IMPORTANCE_TITLES: ReadonlyMap<number, string> = new Map([
  [999, "Unknown"],
  [5, "Undecided"],
  [50, "Critical"],
  [40, "High"],
  [30, "Medium"],
  [20, "Low"],
  [10, "Wishlist"],
]);
export const IMPORTANCE_NAMES: readonly string[] = [...IMPORTANCE_TITLES.values()];
export const UNDECIDED = 5;

export const INFORMATION_TYPES = [
  "Public",
  "Public Security",
  "Private Security",
  "Private",
  "Proprietary",
  "Embargoed",
] as const;
export const PUBLIC_TYPES: readonly string[] = ["Public", "Public Security"];
export const SUBSCRIPTION_LEVELS = ["Lifecycle", "Details", "Discussion"] as const;

export function isOpen(status: number): boolean {
  return OPEN_STATUSES.includes(status);
}
export function isIncomplete(status: number): boolean {
  return status === 13 || status === 14;
}
export function isPrivate(informationType: string): boolean {
  return !PUBLIC_TYPES.includes(informationType);
}
export function isSecurity(informationType: string): boolean {
  return informationType.endsWith("Security") || informationType === "Embargoed";
}

export function statusTitle(status: number): string {
  return STATUS_TITLES.get(status) ?? "Unknown";
}
export function importanceTitle(importance: number): string {
  return IMPORTANCE_TITLES.get(importance) ?? "Unknown";
}

/** @throws InvalidError naming what is accepted, as Launchpad words it */
export function parseStatus(title: string): number {
  if (title === "Incomplete") return STATUS.IncompleteWithoutResponse;
  return choice("status", title, STATUS_TITLES, STATUS_NAMES);
}

/** @returns the stored numbers that a searched status covers */
export function parseSearchStatus(title: string): readonly number[] {
  if (title === "Incomplete") return [13, 14];
  if (title === "Incomplete (with response)") return [13];
  if (title === "Incomplete (without response)") return [14];
  return [choice("status", title, STATUS_TITLES, SEARCH_STATUSES)];
}

export function parseImportance(title: string): number {
  return choice("importance", title, IMPORTANCE_TITLES, IMPORTANCE_NAMES);
}

function choice(field: string, title: string, all: ReadonlyMap<number, string>, names: readonly string[]): number {
  for (const [number, name] of all) if (name === title) return number;
  throw new InvalidError(field, `Invalid value "${title}". Acceptable values are: ${names.join(", ")}`);
}

/** One of a list of words. @throws InvalidError */
export function oneOf<T extends string>(field: string, value: string, names: readonly T[]): T {
  const found = names.find((name) => name === value);
  if (found !== undefined) return found;
  throw new InvalidError(field, `Invalid value "${value}". Acceptable values are: ${names.join(", ")}`);
}

/** Names of people, projects, series and packages, and tags. */
export function checkName(field: string, name: string): string {
  if (name.length <= 120 && /^[a-z0-9][a-z0-9+.-]*$/.test(name)) return name;
  throw new InvalidError(
    field,
    `Invalid name '${name.slice(0, 80)}'. Names must start with a letter or number and be lowercase. The characters +, - and . are also allowed after the first character.`,
  );
}

export function checkText(field: string, text: string, longest: number): string {
  if (text.trim() === "") throw new InvalidError(field, "Required input is missing.");
  if (text.length > longest) throw new InvalidError(field, `Value is too long: at most ${longest} characters.`);
  // PostgreSQL's text holds no NUL; other control characters would garble a terminal and the XML forms.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\x00-\x08\x0b\x0e-\x1f]/.test(text)) throw new InvalidError(field, "Control characters are not allowed.");
  return text;
}
