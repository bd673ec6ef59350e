// The experiments on real Xen: kernel × guest type × vCPUs × spinlocks × late switch × repair, each with what Palimpsest is to
// foretell. What healthy cores and images say stands beside what really happened in docs/xen.md.
import { defaultGuest, type LateSwitch, type Outcome, repairs, type XenGuest } from "./types.ts";

export interface XenRow {
  /** "6.1/hvm-2", "6.1/hvm-2/late-xen/none". */
  readonly name: string;
  /** Flavour of the kernel. */
  readonly flavour: string;
  readonly guest: XenGuest;
  /** The row whose healthy core the proof starts from; undefined for a healthy row, which boot-order foretells. */
  readonly from: string | undefined;
  /** The sites of core and module as the change leaves them. */
  readonly mixture: Mixture;
}

/** Whose lock meets whose unlock. */
export type Mixture =
  | "as booted"
  | "Xen's lock, native unlock"
  | "Xen's lock without its wait, native unlock"
  | "native lock, native unlock"
  | "Xen's lock, Xen's unlock";

const FLAVOURS = ["6.1", "5.10", "6.12"] as const;

function row(
  flavour: string,
  type: XenGuest["type"],
  vcpus: number,
  extra: Partial<XenGuest> & { label?: string } = {},
): XenRow {
  const { label, ...given } = extra;
  const { late } = given;
  const name = [flavour, `${type}-${vcpus}`, label, ...(late ? [`late-${late.to}`, late.repair] : [])]
    .filter(Boolean)
    .join("/");
  const guest: XenGuest = { ...defaultGuest, ...given, name: name.replace(/[^a-z0-9]+/g, "-"), type, vcpus };
  return {
    name,
    flavour,
    guest,
    from: late ? `${flavour}/hvm-2` : undefined,
    mixture: late ? mixtureOf(late) : "as booted",
  };
}

/**
 * The sites that meet in the end. Switching the slots back after the module's sites were patched changes nothing about these. Xen's
 * slow path is the core's own code, and its call of `pv_ops.lock.wait` a site as well: boot with native locks made NOPs of it, so
 * that a late switch to Xen's functions never sleeps, and wakes nobody that slept.
 */
export function mixtureOf({ to, repair }: LateSwitch): Mixture {
  const healed = repair === "patched-again" || repair === "back-before-load";
  if (to === "xen") return healed ? "native lock, native unlock" : "Xen's lock without its wait, native unlock";
  return healed ? "Xen's lock, Xen's unlock" : "Xen's lock, native unlock";
}

/** All rows: the healthy ones first, since the others start from their cores. */
export const xenMatrix: readonly XenRow[] = [
  ...FLAVOURS.flatMap((flavour) => [row(flavour, "hvm", 2), row(flavour, "pvh", 4)]),
  ...FLAVOURS.map((flavour) => row(flavour, "hvm", 2, { append: "xen_nopvspin", late: { to: "xen", repair: "none" } })),
  ...FLAVOURS.flatMap((flavour) =>
    repairs
      .filter((repair) => repair !== "none")
      .map((repair) => row(flavour, "hvm", 2, { append: "xen_nopvspin", late: { to: "xen", repair } })),
  ),
  ...FLAVOURS.flatMap((flavour) => repairs.map((repair) => row(flavour, "hvm", 2, { late: { to: "native", repair } }))),
  ...FLAVOURS.flatMap((flavour) => [
    row(flavour, "hvm", 2, { append: "xen_nopvspin", label: "nopvspin" }),
    row(flavour, "hvm", 2, { append: "xen_no_vector_callback", label: "no-vector" }),
    row(flavour, "hvm", 1),
    row(flavour, "pvh", 2),
    row(flavour, "hvm", 4),
  ]),
  row("7", "hvm", 2),
  row("7", "pvh", 4),
];

/** How a guest ends whose locks are proved to have this verdict. */
export function outcomeOf(verdict: string): Outcome | undefined {
  if (verdict === "safe") return "booted";
  if (verdict === "hang") return "hung";
  return undefined;
}
