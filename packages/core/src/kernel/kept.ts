// What is read once for a kernel, kept with it: two dumps never see each other's, and a kernel with other memory
// (kernel/with.ts) reads its own. What was wrong with the reading is told to everyone who asks, not to the first alone.
import type { Kernel } from "./kernel.ts";

type Maker<T> = (kernel: Kernel, problems: string[]) => T;

interface Kept {
  readonly value: unknown;
  readonly problems: readonly string[];
}

function shelf(kernel: Kernel): Map<unknown, Kept> {
  // A changed kernel inherits from the one that it was made of: its shelf is not that one's.
  if (!Object.hasOwn(kernel, "kept")) {
    // Not enumerable: nor does a copy of the kernel have it.
    Object.defineProperty(kernel, "kept", { value: new Map<unknown, Kept>() });
  }
  return kernel.kept as Map<unknown, Kept>;
}

/** The result of `make`, which is called once a kernel. `problems` gets what it told then. */
export function kept<T>(kernel: Kernel, make: Maker<T>, problems: string[] = []): T {
  const own = shelf(kernel);
  let found = own.get(make);
  if (found === undefined) {
    const told: string[] = [];
    found = { value: make(kernel, told), problems: told };
    own.set(make, found);
  }
  for (const problem of found.problems) if (!problems.includes(problem)) problems.push(problem);
  return found.value as T;
}

/** Whether the problem is one of the kernel as a whole, told while something kept was read. */
export function isOfKernel(kernel: Kernel, problem: string): boolean {
  for (const { problems } of shelf(kernel).values()) if (problems.includes(problem)) return true;
  return false;
}
