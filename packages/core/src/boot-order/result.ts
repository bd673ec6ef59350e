// From what the walks show to the result that is printed.
import { formatAddress, fromKernelOffset } from "../bytes/brand.ts";
import type { KernelImage } from "../image/types.ts";
import type { BootOrderResult, LateSlotWriteFinding } from "../results/boot-order-results.ts";
import { type LateSlotWrite, momentOf, type TableOrder, tableOrders } from "./late-writes.ts";
import { Paths } from "./paths.ts";
import { type Program, withProgram } from "./program.ts";
import { SlotNames } from "./slot-names.ts";

/**
 * The order of an image's boot around the patching of its slots.
 * @param tool "palimpsest 0.1.0"
 * @throws MissingError for an image without symbols; FormatError, TruncatedError for a broken symbol table
 */
export function bootOrder(image: KernelImage, tool: string): BootOrderResult {
  return withProgram(image, (program) => {
    const orders = tableOrders(program);
    const names = new SlotNames(program.image);
    return {
      schema: "palimpsest/boot-order/1",
      tool,
      image: {
        path: image.path,
        container: image.container,
        release: image.release ?? null,
        version: image.version ?? null,
        buildId: image.buildId ?? null,
        symbols: program.image.symbolOrigin,
      },
      tables: orders.map((order) => tableFacts(program, names, order)),
      findings: orders.flatMap(({ late }) => findings(late)),
      notes: notes(orders),
    };
  });
}

function tableFacts(program: Program, names: SlotNames, order: TableOrder): BootOrderResult["tables"][number] {
  const { image } = program;
  const { table, written, boots } = order;
  const paths = boots.map(({ boot }) => (boot === undefined ? undefined : new Paths(program, names, boot)));
  const writers = new Map<number, (typeof written.writes)[number][]>();
  for (const write of written.writes) {
    const own = writers.get(write.writer);
    if (own === undefined) writers.set(write.writer, [write]);
    else own.push(write);
  }
  return {
    name: table.name,
    slots: table.sites.size,
    sites: [...table.sites.values()].reduce((sum, count) => sum + count, 0),
    others: table.others,
    boots: boots.map(({ entry, boot }, i) => ({
      entry: entry.name,
      function: image.functionName(entry.function),
      patchPath: paths[i]?.border() ?? null,
      before: { functions: boot?.before.reached.size ?? 0, notFollowed: boot?.before.notFollowed ?? 0 },
      after: { functions: boot?.after.reached.size ?? 0, notFollowed: boot?.after.notFollowed ?? 0 },
    })),
    writers: [...writers].map(([index, writes]) => ({
      function: image.functionName(index),
      address: formatAddress(fromKernelOffset(image.functions[index])),
      slots: [...new Set(writes.map((write) => names.of(write.slot)))],
      boots: boots.map(({ entry, boot }, i) => {
        const moment = boot === undefined ? "not reached" : momentOf(boot, writes[0]).moment;
        const runs = (half: "before" | "after") =>
          moment === half || moment === "before and after" ? (paths[i]?.to(index, half) ?? null) : null;
        return { entry: entry.name, moment, before: runs("before"), after: runs("after") };
      }),
    })),
    unclear: written.unclear.map((index) => image.functionName(index)),
  };
}

const grouped = (value: number): string => value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");

/** One finding for all slots that one function writes; harmless ones apart. */
function findings(late: readonly LateSlotWrite[]): LateSlotWriteFinding[] {
  const groups = new Map<string, LateSlotWrite[]>();
  for (const write of late) {
    const key = `${write.writer}|${write.sameBefore === undefined}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [write]);
    else group.push(write);
  }
  return [...groups.values()].map(finding);
}

function finding(group: readonly LateSlotWrite[]): LateSlotWriteFinding {
  const [first] = group;
  const writes = group.filter((write) => write.entry === first.entry);
  const sites = writes.reduce((sum, write) => sum + write.sites, 0);
  const variables = new Set(writes.map((write) => write.slotName.replace(/[.+].*/, "")));
  // Where no symbol names the variable, each slot would be one of its own.
  const of = variables.size < writes.length ? ` of ${[...variables].join(", ")}` : "";
  const slots = writes.length === 1 ? first.slotName : `${writes.length} slots${of}`;
  const whose = writes.length === 1 ? "its" : "their";
  const patched = sites === 1 ? `${whose} site` : `${whose} ${grouped(sites)} sites`;
  const patcher = first.patchPath.at(-1)?.function ?? "";
  return {
    id: "boot.late-slot-write",
    severity: first.sameBefore === undefined ? "warning" : "note",
    address: formatAddress(first.at),
    length: 8,
    object: "vmlinux",
    symbol: first.writer,
    title: `${first.writer} writes ${slots} after ${patcher} has patched ${patched}`,
    notes: findingNotes(first),
    entries: [...new Set(group.map((write) => write.entry))],
    writer: first.writer,
    slots: writes.map((write) => ({
      name: write.slotName,
      address: formatAddress(write.slot),
      value: write.value ?? null,
      sites: write.sites,
      sameBefore: write.sameBefore ?? null,
    })),
    path: first.path,
    patchPath: first.patchPath,
    setters: first.setters,
    tests: first.tests,
  };
}

function findingNotes({ sameBefore, setters, tests, path, writer, perhapsBefore }: LateSlotWrite): string[] {
  const out: string[] = [];
  if (sameBefore !== undefined) out.push(`${sameBefore} stores the same before the patching: nothing changes.`);
  else {
    out.push("The patched calls do not read their slots any more and go on with the old functions.");
    out.push("Modules are patched when they are loaded: those loaded later call the new ones.");
  }
  for (const setter of setters) {
    const way = setter.path.length === 0 ? "" : `: ${setter.path.map((step) => step.function).join(" → ")}`;
    out.push(`${setter.slot} is set by ${setter.function}${way}.`);
  }
  for (const test of tests) out.push(`${test.function} tests ${test.variable} before it goes on.`);
  for (const step of path) {
    if (step.how !== "address" && step.how !== "structure") continue;
    out.push(`A call of ${step.function} was not seen there, only that its address is at hand.`);
  }
  if (perhapsBefore !== undefined) {
    const way = perhapsBefore.map((step) => step.function).join(" → ");
    out.push(`By less sure steps ${writer} could run before the patching too: ${way}.`);
  }
  return out;
}

function notes(orders: readonly TableOrder[]): string[] {
  const out: string[] = [];
  if (orders.length === 0) {
    out.push("This kernel has no table of patched calls through slots: it was built without CONFIG_PARAVIRT.");
  }
  for (const { boots, table } of orders) {
    if (boots.length === 0) out.push("No first function of a boot was found: x86_64_start_kernel, start_kernel.");
    for (const { entry, boot } of boots) {
      if (boot === undefined)
        out.push(`${entry.name}: no way leads to a function that takes the address of ${table.name}.`);
    }
  }
  if (orders.length > 0) {
    out.push("Interrupts, system calls and modules are not followed.");
  }
  return out;
}
