// Reads the era of a kernel: each question is put to the core's sites; where these are too few to be sure, all objects
// answer together. So one object alone is judged as it is among all, and modules are only opened for it when they must be.
import { MissingError } from "../bytes/errors.ts";
import type { SiteContext } from "./base/context.ts";
import type { Era, Padding, Votes } from "./base/era.ts";
import { callOrder } from "./mechanisms/call-thunks.ts";
import { offsetOfVotes, offsetVotes } from "./mechanisms/cfi.ts";
import { poisonOfVotes, poisonVotes } from "./mechanisms/endbr.ts";
import { coreEntriesHoldBranch, ownEntriesHoldBranch } from "./mechanisms/jump-labels.ts";
import { paddingOfVotes, paddingVotes } from "./mechanisms/retpolines.ts";

/** So many sites of the core are sure without those of modules. */
const FEWEST_VOTES = 16;

/**
 * @param core the core's context; undefined when there is no image of it
 * @param modules the contexts of all modules, in the kernel's order; called at most once, and only when the core is too few
 */
export function readEra(core: SiteContext | undefined, modules: () => readonly SiteContext[]): Era {
  return new ObjectsEra(core, modules);
}

const addVotes = (a: Votes, b: Votes): Votes => ({
  seen: a.seen + b.seen,
  votes: a.votes.map((count, i) => count + b.votes[i]),
});

class ObjectsEra implements Era {
  private readonly told: {
    poison?: Uint8Array;
    padding?: Padding;
    cfiOffset?: number;
    callsFirst?: boolean;
    holdBranch?: boolean;
  } = {};
  private others: readonly SiteContext[] | undefined;

  constructor(
    private readonly core: SiteContext | undefined,
    private readonly modules: () => readonly SiteContext[],
  ) {}

  get poison(): Uint8Array {
    this.told.poison ??= poisonOfVotes(
      this.voices(poisonVotes, (sum, more) => ({ seen: sum.seen + more.seen, nopl: sum.nopl + more.nopl })),
    );
    return this.told.poison;
  }

  get padding(): Padding {
    this.told.padding ??= this.paddingOfAll();
    return this.told.padding;
  }

  get cfiOffset(): number {
    this.told.cfiOffset ??= offsetOfVotes(this.voices(offsetVotes, addVotes));
    return this.told.cfiOffset;
  }

  get callsFirst(): boolean {
    this.told.callsFirst ??= this.callsComeFirst();
    return this.told.callsFirst;
  }

  get entriesHoldBranch(): boolean {
    this.told.holdBranch ??=
      (this.core !== undefined && (coreEntriesHoldBranch(this.core.kernel) || ownEntriesHoldBranch(this.core))) ||
      this.all().some((context) => coreEntriesHoldBranch(context.kernel) || ownEntriesHoldBranch(context));
    return this.told.holdBranch;
  }

  private paddingOfAll(): Padding {
    const votes = this.voices(paddingVotes, addVotes);
    const [context] = this.core === undefined ? this.all() : [this.core];
    return paddingOfVotes(context, votes);
  }

  private callsComeFirst(): boolean {
    const own = this.core && callOrder(this.core);
    if (own !== undefined) return own;
    for (const context of this.all()) {
      const order = callOrder(context);
      if (order !== undefined) return order;
    }
    const kernel = (this.core ?? this.all()[0])?.kernel;
    return kernel?.find("smp_text_poke_single") !== undefined;
  }

  private all(): readonly SiteContext[] {
    if (this.others === undefined) {
      const modules = this.modules();
      this.others = this.core === undefined ? modules : [this.core, ...modules];
    }
    return this.others;
  }

  private voices<V extends { readonly seen: number }>(count: (context: SiteContext) => V, add: (a: V, b: V) => V): V {
    const own = this.core && count(this.core);
    if (own !== undefined && own.seen >= FEWEST_VOTES) return own;
    const all = this.all();
    // A kernel of which nothing at all was opened asks nothing of its era.
    if (all.length === 0) throw new MissingError("an object of this kernel");
    return all.map(count).reduce(add);
  }
}
