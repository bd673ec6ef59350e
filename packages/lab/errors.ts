// What can go wrong in the lab, in two kinds: a kernel that cannot be had (its suite vanished, no network) is no
// fault of anything here and tests may step aside for it; everything else is.

/** The lab could not do what was asked. */
export class LabError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** A kernel that no suite offers now and that the cache does not hold. */
export class UnavailableError extends LabError {
  constructor(
    readonly flavour: string,
    readonly reason: string,
  ) {
    super(`kernel ${flavour} is unavailable: ${reason}`);
  }
}
