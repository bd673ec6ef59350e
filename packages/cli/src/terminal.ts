// The only place that knows a terminal: colours, progress, where text goes.
import { ANSI, type Paint, PLAIN } from "../../core/src/report/paint.ts";
import { visible, visibleLine, visiblePainted } from "../../core/src/report/visible.ts";

export type ColorMode = "auto" | "always" | "never";

export interface GlobalOptions {
  readonly json?: boolean;
  readonly color?: ColorMode;
  readonly image?: string;
  readonly modules?: string;
  readonly debugInfo?: string;
  readonly force?: boolean;
  readonly cache?: boolean;
  readonly limit?: string;
}

/** The paint for stdout: NO_COLOR (no-color.org) and --color decide, then whether it is a terminal. */
export function paintFor(mode: ColorMode | undefined): Paint {
  if (mode === "always") return ANSI;
  if (mode === "never" || (process.env.NO_COLOR ?? "") !== "") return PLAIN;
  return process.stdout.isTTY ? ANSI : PLAIN;
}

/** Writes to stdout, control characters written out. A reader that goes away (`| head`) ends the program quietly. */
export function print(text: string): void {
  process.stdout.write(visiblePainted(text));
}

/** A line on stderr. */
export function note(text: string): void {
  process.stderr.write(`${visible(text)}\n`);
}

/** Progress on a terminal's stderr, shown only when the work takes more than a second. */
export class Progress {
  private readonly start = Date.now();
  private shown = 0;
  private readonly enabled: boolean;

  constructor(json: boolean) {
    this.enabled = !json && process.stderr.isTTY === true;
  }

  /** @param part 0 … 1 */
  update(part: number, what: string): void {
    if (!this.enabled || Date.now() - this.start < 1000 || Date.now() - this.shown < 100) return;
    this.shown = Date.now();
    const width = 24;
    const done = Math.round(Math.min(1, Math.max(0, part)) * width);
    process.stderr.write(`\r\u001b[K${"#".repeat(done)}${"-".repeat(width - done)} ${visibleLine(what)}`);
  }

  end(): void {
    if (this.shown !== 0) process.stderr.write("\r\u001b[K");
  }
}
