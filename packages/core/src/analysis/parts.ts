// What the results of one dump share: its kernel, the images, the audit. Each is made when it is first asked for and kept;
// work that takes long gives way to the event loop in between, so that a page can cancel it and show how far it is.
import { auditSteps, type DumpAudit, type ImageSet } from "../audit/audit.ts";
import { Auditor } from "../audit/auditor.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { ResolvedPlace } from "../kernel/where.ts";
import { tellOthers } from "./places.ts";

/** How far the work is. */
export interface Progress {
  /** 0 … 1; at 1 it is done */
  readonly part: number;
  /** what is being done: "unpacking the kernel image", a module's name */
  readonly what: string;
}

export interface AnalysisOptions {
  /** Where the kernel image and the modules come from; without it, results tell what the dump alone tells. */
  readonly images?: (onProgress: (progress: Progress) => void) => Promise<ImageSet>;
  /** Compare with images of another build too. */
  readonly force?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** A sentence about how a question was understood ("foo has 2 more of the name: …"), which is no part of the result. */
  readonly onNote?: (sentence: string) => void;
  /** Ends work that goes on; what was asked for then rejects with the signal's reason, and can be asked for again. */
  readonly signal?: AbortSignal;
  /** bytes that the process holds already, which a bound on memory counts in */
  readonly heldBytes?: () => number;
  /** Gives back what the host holds (the dump's file). */
  readonly onClose?: () => void;
}

/** Longest time between two looks at the event loop, in milliseconds. */
const GIVE_WAY = 50;

export class Parts {
  private imageSet: Promise<ImageSet> | undefined;
  private auditing: Promise<DumpAudit> | undefined;
  private door: Promise<Auditor> | undefined;
  private looked = performance.now();

  constructor(
    readonly kernel: Kernel,
    readonly options: AnalysisOptions,
  ) {}

  progress(part: number, what: string): void {
    this.options.onProgress?.({ part, what });
  }

  note(sentence: string): void {
    this.options.onNote?.(sentence);
  }

  /** Tells which of several symbols of the name was meant. */
  tellOthers(place: ResolvedPlace, where: string): void {
    tellOthers(place, where, (sentence) => this.note(sentence));
  }

  /** Lets the event loop run when it had to wait for long. @throws the signal's reason */
  async giveWay(): Promise<void> {
    const { signal, onProgress } = this.options;
    if (signal === undefined && onProgress === undefined) return;
    if (performance.now() - this.looked > GIVE_WAY) {
      await new Promise<void>((resolve) => setTimeout(resolve));
      this.looked = performance.now();
    }
    signal?.throwIfAborted();
  }

  /** @throws UsageError when the image is of another build; the PalimpsestError of a named file that is no image */
  images(): Promise<ImageSet> {
    this.imageSet ??= this.kept(
      this.options.images?.((progress) => this.options.onProgress?.(progress)) ??
        Promise.resolve({ core: undefined, module: () => undefined }),
      () => {
        this.imageSet = undefined;
      },
    );
    return this.imageSet;
  }

  /** The audit of everything, which several results rest on. */
  audit(): Promise<DumpAudit> {
    this.auditing ??= this.kept(this.auditAll(), () => {
      this.auditing = undefined;
    });
    return this.auditing;
  }

  /** The one door to the intended layer of an object. */
  auditor(): Promise<Auditor> {
    this.door ??= this.kept(
      this.images().then((images) => new Auditor(this.kernel, images, this.options.force)),
      () => {
        this.door = undefined;
      },
    );
    return this.door;
  }

  private async auditAll(): Promise<DumpAudit> {
    const images = await this.images();
    const steps = auditSteps(this.kernel, images, { auditor: await this.auditor() });
    for (;;) {
      const step = steps.next();
      if (step.done === true) {
        this.progress(1, "");
        return step.value;
      }
      this.progress(0.3 + 0.7 * step.value.part, step.value.name);
      await this.giveWay();
    }
  }

  /** What failed is made anew when it is asked for again. */
  private kept<T>(made: Promise<T>, forget: () => void): Promise<T> {
    made.catch(forget);
    return made;
  }
}
