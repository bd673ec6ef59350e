// The shape of the web service as data: WADL, validation and JSON are all made from it, so that they cannot disagree.
// It is Launchpad's service cut to bug records; names and meanings are Launchpad's.

export type Value =
  | { readonly is: "text" | "int" | "bool" | "date" | "list" | "any" }
  | { readonly is: "choice"; readonly options: readonly string[] }
  | { readonly is: "link"; readonly to: string }
  | { readonly is: "collection"; readonly of: string }
  | { readonly is: "hosted" };

export interface Field {
  /** as in JSON, with _link or _collection_link */
  readonly name: string;
  readonly value: Value;
  readonly writable?: boolean;
}

export interface Parameter {
  readonly name: string;
  readonly value: Value | { readonly is: "binary" };
  readonly required?: boolean;
}

export interface Operation {
  readonly name: string;
  readonly method: "GET" | "POST";
  readonly parameters: readonly Parameter[];
  /** page: a collection of; entry: one of; creates: 201 with the place of; value: JSON */
  readonly returns: { readonly page: string } | { readonly entry: string } | { readonly creates: string } | "value";
}

export interface ResourceType {
  readonly name: string;
  readonly fields: readonly Field[];
  readonly operations: readonly Operation[];
  /** a top-level collection ("bugs") and what it is of */
  readonly collectionOf?: string;
  readonly canDelete?: boolean;
}

export const TEXT: Value = { is: "text" };
export const INT: Value = { is: "int" };
export const BOOL: Value = { is: "bool" };
export const DATE: Value = { is: "date" };
export const LIST: Value = { is: "list" };
export const choice = (options: readonly string[]): Value => ({ is: "choice", options });

export const field = (name: string, value: Value): Field => ({ name, value });
export const writable = (name: string, value: Value): Field => ({ name, value, writable: true });
export const link = (name: string, to: string): Field => field(`${name}_link`, { is: "link", to });
export const writableLink = (name: string, to: string): Field => writable(`${name}_link`, { is: "link", to });
export const collection = (name: string, of: string): Field =>
  field(`${name}_collection_link`, { is: "collection", of });

export const need = (name: string, value: Parameter["value"] = TEXT): Parameter => ({ name, value, required: true });
export const may = (name: string, value: Parameter["value"] = TEXT): Parameter => ({ name, value });
export const resource = (to: string): Value => ({ is: "link", to });

export function get(name: string, returns: Operation["returns"], ...parameters: Parameter[]): Operation {
  return { name, method: "GET", parameters, returns };
}
export function post(name: string, returns: Operation["returns"], ...parameters: Parameter[]): Operation {
  return { name, method: "POST", parameters, returns };
}
