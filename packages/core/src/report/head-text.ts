// The lines with which every text about a dump begins.
import type { AuditResult } from "../results/results.ts";
import { counted, size } from "./format.ts";
import type { Paint } from "./paint.ts";

/** The head: which dump, which kernel, which machine. */
export function headLines(result: Pick<AuditResult, "dump" | "kernel">, paint: Paint): string[] {
  const { dump, kernel } = result;
  const machine = [
    kernel.cpus === null ? "" : counted(kernel.cpus, "CPU"),
    kernel.kaslrOffset === null
      ? ""
      : kernel.kaslrOffset === "0x0"
        ? "not moved by KASLR"
        : `moved by KASLR ${kernel.kaslrOffset}`,
    kernel.hypervisor === null ? "" : `hypervisor: ${kernel.hypervisor}`,
  ].filter((part) => part !== "");
  return [
    `${paint.bold(dump.path)}  ${dump.format}, ${size(dump.size)}`,
    `Linux ${paint.bold(kernel.release || "(release unknown)")}  ${machine.join(", ")}`,
    `  build-id ${kernel.buildId ?? "unknown"}`,
  ];
}
