// The end of a run's time, looked at wherever instructions run: a state of one CPU may take a million of them.

/** Thrown out of a run whose time is up. Not an error of the user's; the explorer catches it. */
export class TimeUp extends Error {}

/** Instructions between two looks at the clock. */
const EVERY = 1024;

export class Deadline {
  /** @param until performance.now() at which the time is up */
  constructor(private until = Number.POSITIVE_INFINITY) {}

  /** From now on there is no end: for telling what was found. */
  lift(): void {
    this.until = Number.POSITIVE_INFINITY;
  }

  get isOver(): boolean {
    return performance.now() > this.until;
  }

  /**
   * @param count instructions so far
   * @throws TimeUp
   */
  check(count: number): void {
    if (count % EVERY === 0 && this.isOver) throw new TimeUp();
  }
}
