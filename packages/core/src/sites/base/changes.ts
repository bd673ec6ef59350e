// What shows that sites of a mechanism were being changed at the moment of the dump: a lock of the kernel that is held,
// or a module on its way in or out.
import { isMutexHeld } from "../../kernel/records/kernel-mutex.ts";
import type { SiteContext } from "./context.ts";
import type { Pending, SiteDetails } from "./site.ts";

/** "the module is being loaded": its notifiers have not all been called yet, so that sites may still be as built. */
export function moduleOnTheMove(context: SiteContext): string | undefined {
  const module = context.kernel.modules.find((each) => each.name === context.object.name);
  if (module?.state === "coming") return "the module is being loaded (MODULE_STATE_COMING)";
  if (module?.state === "going") return "the module is being unloaded (MODULE_STATE_GOING)";
  return undefined;
}

/** The pending change of a list whose sites may all be as built, or in any other form, while a module comes or goes. */
export function modulePending(
  context: SiteContext,
  site: (index: number) => { start: number; length: number },
  describe: (index: number) => SiteDetails,
): Pending | undefined {
  const evidence = moduleOnTheMove(context);
  if (evidence === undefined) return undefined;
  return {
    evidence,
    forms: (index) => {
      const { start, length } = site(index);
      const built = context.space.readBuilt(start, length);
      const forms = describe(index).forms.map((form) => form.bytes);
      return built === undefined ? forms : [...forms, built];
    },
  };
}

/** "jump_label_mutex is held", or undefined when it is free. */
export function heldLock(context: SiteContext, mutex: string): string | undefined {
  return isMutexHeld(context.kernel, mutex) ? `${mutex} is held` : undefined;
}
