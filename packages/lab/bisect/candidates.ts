// What a bisection goes through: kernels, additions to the command line, or modules loaded one after the other.
import { existsSync } from "node:fs";
import { LabError } from "../errors.ts";
import { fetchKernel } from "../kernels.ts";
import { type GuestKernel, kernelOfCache, kernelOfFile } from "../xen/prepare.ts";
import type { XenGuest } from "../xen/types.ts";

export const kinds = ["kernels", "options", "modules"] as const;
export type Kind = (typeof kinds)[number];

/** One of the list: how it is called, and what it makes of the guest. */
export interface Candidate {
  readonly name: string;
  kernel(note: (line: string) => void): Promise<GuestKernel>;
  guest(base: XenGuest): XenGuest;
}

/**
 * The list. `kernels`: aliases of the lab, or FILE[:MODULES]. `options`: words of the command line, each list in quotes, "-"
 * for none. `modules`: names; the n-th candidate loads the first n, the first one loads none.
 * @throws LabError when it has less than two, names something twice, or the kernel of the others is missing
 */
export function candidates(kind: Kind, items: readonly string[], kernel: string | undefined): Candidate[] {
  const names = kind === "modules" ? ["none", ...items] : [...items];
  if (names.length < 2) throw new LabError(`bisect: a list of ${kind} needs at least two`);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new LabError(`bisect: ${twice} is twice in the list`);
  if (kind === "kernels")
    return names.map((name) => ({ name, kernel: (note) => kernelOf(name, note), guest: (base) => base }));
  if (kernel === undefined)
    throw new LabError(`bisect: which kernel? --kernel with one of the lab's, or FILE[:MODULES]`);
  return names.map((name, index) => ({
    name,
    kernel: (note) => kernelOf(kernel, note),
    guest: (base) =>
      kind === "modules"
        ? { ...base, modules: items.slice(0, index) }
        : { ...base, append: `${base.append} ${name === "-" ? "" : name}`.trim() },
  }));
}

async function kernelOf(name: string, note: (line: string) => void): Promise<GuestKernel> {
  const [file, modules] = name.split(":");
  if (file.includes("/") || existsSync(file)) return kernelOfFile(file, modules);
  return kernelOfCache(await fetchKernel(name, note));
}

/** Where `name` stands. @throws LabError when it is not in the list */
export function indexOf(list: readonly Candidate[], flag: string, name: string | undefined, otherwise: number): number {
  if (name === undefined) return otherwise;
  const index = list.findIndex((candidate) => candidate.name === name);
  if (index < 0)
    throw new LabError(`${flag} "${name}" is not in the list: ${list.map((each) => each.name).join(", ")}`);
  return index;
}
