// The text of `boot-order`: where the patching lies, who writes slots and when, and what is written too late.
import type { BootOrderResult, BootStep, LateSlotWriteFinding } from "../results/boot-order-results.ts";
import { bare, counted, grouped, table } from "./format.ts";
import type { Paint } from "./paint.ts";

/** "start_kernel → kernel_init (thread) → xen_hvm_smp_prepare_cpus (through smp_ops+0x8) → …" */
export function wayText(steps: readonly BootStep[]): string {
  return steps.map((step) => `${step.function}${wayHow(step)}`).join(" → ");
}

function wayHow({ how, through, setBy }: BootStep): string {
  switch (how) {
    case "start":
    case "call":
    case "jump":
      return "";
    case "slot":
      return ` (through ${through}${setBy === null ? "" : `, set by ${setBy}`})`;
    case "initcall":
      return ` (initcall, ${through})`;
    case "thread":
      return " (thread)";
    case "address":
      return through === null ? " (its address is taken)" : ` (its address is read from ${through})`;
    case "structure":
      return ` (its address is in ${through})`;
  }
}

/** Both ways from the last function that they share, whose order of calls decides. */
export function forkedWays(
  one: readonly BootStep[],
  other: readonly BootStep[],
): [readonly BootStep[], readonly BootStep[]] {
  let shared = 0;
  while (shared < one.length && one[shared].address === other[shared]?.address) shared++;
  const from = Math.max(0, shared - 1);
  return [one.slice(from), other.slice(from)];
}

function findingLines(finding: LateSlotWriteFinding, paint: Paint): string[] {
  const mark = finding.severity === "note" ? "note" : paint.yellow(finding.severity);
  const [patched, written] = forkedWays(finding.patchPath, finding.path);
  const widths = [finding.slots.map(({ name }) => name), finding.slots.map(({ value }) => value ?? "?")].map((names) =>
    Math.max(...names.map((name) => name.length)),
  );
  const rows = finding.slots.map(({ name, value, sites }) => {
    const columns = [name.padEnd(widths[0]), "=", (value ?? "?").padEnd(widths[1]), counted(sites, "site")];
    return `    slot      ${columns.join("  ")}`;
  });
  return [
    `${mark}  ${paint.bold(finding.id)}  ${bare(finding.address)}  ${finding.title}`,
    `    patched   ${wayText(patched)}`,
    `    written   ${wayText(written)}`,
    ...rows,
    ...finding.notes.map((note) => paint.dim(`    ${note}`)),
    "",
  ];
}

/** The whole report. */
export function bootOrderText(result: BootOrderResult, paint: Paint): string {
  const { image } = result;
  const lines = [
    `${paint.bold("image")}    ${image.path} (${image.container}), ${image.release ?? "release unknown"}, names from ${image.symbols}`,
  ];
  for (const each of result.tables) {
    lines.push(
      `${paint.bold("table")}    ${each.name}: ${counted(each.sites, "site")} of ${counted(each.slots, "slot")}${
        each.others === 0 ? "" : `, ${counted(each.others, "site")} without a slot`
      }`,
    );
    for (const boot of each.boots) {
      if (boot.patchPath === null) {
        lines.push(`${paint.bold("patched")}  ${boot.entry}: no way to the patching was found`);
        continue;
      }
      lines.push(`${paint.bold("patched")}  ${boot.entry}: ${wayText(boot.patchPath)}`);
      lines.push(
        paint.dim(
          `           ${counted(boot.before.functions, "function")} may run before it, ${grouped(boot.after.functions)} after it; ` +
            `${grouped(boot.before.notFollowed)} and ${counted(boot.after.notFollowed, "indirect call")} not followed`,
        ),
      );
    }
  }
  lines.push("");
  for (const finding of result.findings) lines.push(...findingLines(finding, paint));
  for (const each of result.tables) {
    if (each.writers.length === 0) continue;
    const rows = each.writers.map((writer) => [
      writer.function,
      grouped(writer.slots.length),
      ...writer.boots.map((boot) => boot.moment),
    ]);
    lines.push(paint.bold(`Who writes slots of ${each.name}, and when, seen from the patching`));
    lines.push(...table([["", "slots", ...each.boots.map((boot) => boot.entry)], ...rows]));
    if (each.unclear.length > 0) lines.push(`  not seen through: ${each.unclear.join(", ")}`);
    lines.push("");
  }
  for (const note of result.notes) lines.push(paint.dim(note));
  const counts = result.findings.filter((finding) => finding.severity !== "note").length;
  if (counts > 0) lines.push(paint.yellow(counted(counts, "finding")));
  else if (result.tables.some((each) => each.boots.every((boot) => boot.patchPath === null))) {
    lines.push(paint.yellow("Not checked: where the boot patches was not found."));
  } else lines.push(paint.green(result.tables.length === 0 ? "Nothing to check." : "No slot is written too late."));
  return `${lines.join("\n")}\n`;
}
