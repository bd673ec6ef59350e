// What can be wrong with a request to the records, told apart by class and data. The service answers each with
// Launchpad's status (400 "field: reason", 401, 404, 409, 412), the command line with status 2.

export abstract class RecordsError extends Error {
  abstract readonly kind: "invalid" | "forbidden" | "missing" | "conflict" | "stale" | "store";
  override get name(): string {
    return this.constructor.name;
  }
}

/** Values that break a rule; one line per field, "title: Required input is missing." */
export class InvalidError extends RecordsError {
  readonly kind = "invalid";
  constructor(
    readonly field: string,
    readonly reason: string,
  ) {
    super(field === "" ? reason : `${field}: ${reason}`);
  }
}

/** Somebody may not do this; worded as Launchpad does. */
export class ForbiddenError extends RecordsError {
  readonly kind = "forbidden";
}

/** Not there, or private to others: the two are never told apart. */
export class MissingRecordError extends RecordsError {
  readonly kind = "missing";
  constructor(readonly what: string) {
    super(`${what} does not exist`);
  }
}

export class ConflictError extends RecordsError {
  readonly kind = "conflict";
}

/** Changed by somebody else since it was read. */
export class StaleError extends RecordsError {
  readonly kind = "stale";
  constructor() {
    super("The resource was changed since it was read: read it again.");
  }
}

/** The store itself cannot be used. */
export class StoreError extends RecordsError {
  readonly kind = "store";
  constructor(
    message: string,
    readonly advice?: string,
  ) {
    super(message);
  }
}
