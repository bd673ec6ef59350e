// Many findings of one cause are told once: a slot that was changed late leaves a thousand stale sites.
import type { Finding } from "../results/types.ts";

export interface Group {
  readonly key: string;
  readonly findings: readonly Finding[];
}

function groupKey(finding: Finding): string {
  if (finding.id === "site.stale")
    return `${finding.id}|${finding.mechanism}|${finding.slot?.name ?? ""}|${finding.form}`;
  // The slots of one structure are written together.
  if (finding.id === "slot.late-write") return `${finding.id}|${finding.slot.name.replace(/\.[^.]*$/, "")}`;
  return `${finding.id}|${finding.address}`;
}

/** Groups in the order of their first findings. */
export function groupFindings(findings: readonly Finding[]): Group[] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const key = groupKey(finding);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [finding]);
    else group.push(finding);
  }
  return [...groups].map(([key, members]) => ({ key, findings: members }));
}
