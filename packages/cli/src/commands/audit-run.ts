// The audit as several commands need it.
import { auditDump, type DumpAudit } from "../../../core/src/audit/audit.ts";
import type { CommandContext } from "./common.ts";

/** Audits everything, with progress. */
export async function auditOf({ session, kernel, options, progress }: CommandContext): Promise<DumpAudit> {
  const images = await session.images();
  const audit = auditDump(kernel, images, {
    force: options.force,
    onObject: (name, index, count) => progress.update(0.3 + (0.7 * index) / count, name),
  });
  progress.end();
  return audit;
}
