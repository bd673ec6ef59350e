// Everything that the questions about one image share: its layout, its code as events, the tables of its linker.
import type { KernelOffset } from "../bytes/brand.ts";
import type { KernelImage } from "../image/types.ts";
import { EventReader } from "./event-reader.ts";
import { jumpLabels } from "./jump-labels.ts";
import { LinkImage } from "./link-image.ts";
import { LinkTables } from "./tables.ts";
import { ValueTracker } from "./values.ts";

export interface Program {
  readonly image: LinkImage;
  readonly events: EventReader;
  readonly tracker: ValueTracker;
  readonly tables: LinkTables;
  readonly labels: ReadonlyMap<KernelOffset, KernelOffset>;
  /** Functions whose first argument runs as a thread. */
  readonly threadMakers: ReadonlySet<KernelOffset>;
}

const THREAD_MAKERS = ["kernel_thread", "user_mode_thread", "kthread_create_on_node", "kthread_create"];

/**
 * Opens an image for `body` and frees what the decoder holds afterwards.
 * @throws MissingError for an image without symbols
 */
export function withProgram<T>(image: KernelImage, body: (program: Program) => T): T {
  const link = new LinkImage(image);
  const events = new EventReader(link);
  const tracker = new ValueTracker(events);
  try {
    const makers = THREAD_MAKERS.map((name) => link.find(name)).filter((at) => at !== undefined);
    return body({
      image: link,
      events,
      tracker,
      tables: new LinkTables(link),
      labels: jumpLabels(link),
      threadMakers: new Set(makers),
    });
  } finally {
    tracker.free();
    events.free();
  }
}
