// Turns the flags of `lab xen boot` into a guest, with a message that names the flag when it makes no sense.
import { wholeNumber } from "../arguments.ts";
import { LabError } from "../errors.ts";
import {
  defaultGuest,
  type GuestType,
  guestTypes,
  type LateSwitch,
  type Repair,
  repairs,
  type XenGuest,
} from "./types.ts";

/** The flags, as the command line parser hands them over. */
export interface XenBootFlags {
  readonly type?: string;
  readonly vcpus?: string;
  readonly mem?: string;
  readonly append?: string;
  readonly load?: string;
  readonly set?: readonly string[];
  /** False for --no-callback-vector. */
  readonly callbackVector?: boolean;
  /** False for --no-pvspin. */
  readonly pvspin?: boolean;
  readonly late?: string;
  readonly repair?: string;
}

/** @throws LabError naming the flag, what it got and what it takes */
export function parseXenGuest(name: string, flags: XenBootFlags): XenGuest {
  const type = oneOf("--type", flags.type ?? "hvm", guestTypes);
  const append = [
    flags.pvspin === false ? "xen_nopvspin" : "",
    flags.callbackVector === false ? "xen_no_vector_callback" : "",
    flags.append?.trim() ?? "",
  ].filter((word) => word !== "");
  const config = flags.set ?? [];
  const strange = config.find((line) => !/^[a-z_0-9]+=.+$/.test(line));
  if (strange !== undefined)
    throw new LabError(`--set "${strange}": it takes an option of xl.cfg(5), such as xen_platform_pci=0`);
  if (type === "pvh" && flags.callbackVector === false)
    throw new LabError("--no-callback-vector: a PVH guest has no other way to be told of events");
  return {
    name,
    type: type as GuestType,
    vcpus: wholeNumber("--vcpus", flags.vcpus, defaultGuest.vcpus, 1, 4),
    memoryMegabytes: wholeNumber("--mem", flags.mem, defaultGuest.memoryMegabytes, 128, 4096),
    append: append.join(" "),
    modules:
      flags.load === undefined
        ? defaultGuest.modules
        : flags.load
            .split(",")
            .map((word) => word.trim())
            .filter((word) => word !== ""),
    config,
    late: parseLate(flags),
  };
}

function parseLate({ late, repair }: XenBootFlags): LateSwitch | undefined {
  if (late === undefined) {
    if (repair !== undefined) throw new LabError("--repair: there is nothing to repair without --late");
    return undefined;
  }
  const to = oneOf("--late", late, ["xen", "native"] as const);
  return { to, repair: oneOf("--repair", repair ?? "none", repairs) as Repair };
}

function oneOf<T extends string>(flag: string, given: string, known: readonly T[]): T {
  const found = known.find((value) => value === given);
  if (found === undefined) throw new LabError(`${flag} "${given}": it takes ${known.join(", ")}`);
  return found;
}
