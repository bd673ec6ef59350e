// One lock that a user asks for: by what proves its type, by the type that the user gives, or, when neither tells, which types
// its bytes fit.
import { formatAddress, toKernelOffset, type VirtualAddress } from "../../bytes/brand.ts";
import { PalimpsestError } from "../../bytes/errors.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { LockFact } from "../../results/lock-results.ts";
import { lockStateFindings } from "../findings/impossible.ts";
import { type LockFacts, rawBytes, symbolOf } from "../findings/lock-facts.ts";
import type { LockState } from "../lock-state.ts";
import type { LockForm } from "../words/lock-forms.ts";
import type { LockWord } from "../words/types.ts";
import type { KnownLock } from "./known-locks.ts";
import { allKnown, factsOf, type LockAnswer, nameMmap, notesOf, untoldOf } from "./lock-list.ts";

/**
 * The one lock that was asked for.
 * @param chosen a form that the user knows it to be; undefined to go by what proves its type
 * @throws AddressError when its bytes are not in the dump
 */
export function askedLock(state: LockState, address: VirtualAddress, chosen: LockForm | undefined): LockAnswer {
  const { kernel } = state;
  rawBytes(kernel, address);
  const known = allKnown(state);
  const here = known.filter((lock) => lock.address === address);
  const facts = factsOf(state);
  const lock = nameMmap(
    state,
    chosen === undefined ? provenFact(state, facts, address, here) : chosenFact(state, facts, address, chosen, here),
  );
  const around = here.length > 0 ? [] : sameSymbol(kernel, known, address);
  const findings = lockStateFindings(state, [lock], []).filter((finding) =>
    finding.id === "hang.deadlock"
      ? finding.cycle.some((step) => step.lock === lock.address)
      : finding.id !== "hang.self-deadlock" || finding.address === lock.address,
  );
  return { locks: [lock], looked: 1, findings, ...untoldOf(state), notes: [...notesOf(state), ...around] };
}

/** Locks that are known in the variable around an address at which none is. */
function sameSymbol(kernel: Kernel, known: readonly KnownLock[], address: VirtualAddress): string[] {
  const near = toKernelOffset(address) === undefined ? undefined : kernel.allSymbols.nearest(address);
  if (near?.size === undefined) return [];
  const end = near.symbol.address + BigInt(near.size);
  return known
    .filter((lock) => lock.address >= near.symbol.address && lock.address < end)
    .slice(0, 4)
    .map((lock) => `a ${lock.kind} is known at ${lock.name ?? symbolOf(kernel, lock.address)}`);
}

function provenFact(state: LockState, facts: LockFacts, address: VirtualAddress, here: readonly KnownLock[]): LockFact {
  const [lock] = here;
  if (lock === undefined) return unknownFact(state, address, "nothing in this kernel proves that a lock is here");
  const form = facts.formOf(lock);
  if (form === undefined) {
    return unknownFact(state, address, `it is a ${lock.kind}, and nothing tells how this kernel builds one`, lock);
  }
  try {
    const word = state.decoder.decode(address, form);
    if (!facts.isUninitialised(word, form)) return facts.fact(lock, form, word);
    return unknownFact(
      state,
      address,
      `it is a ${word.type}, and all its bytes are zero: it was never initialised`,
      lock,
    );
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return unknownFact(state, address, error.message, lock);
  }
}

function chosenFact(
  state: LockState,
  facts: LockFacts,
  address: VirtualAddress,
  chosen: LockForm,
  here: readonly KnownLock[],
): LockFact {
  const reason = state.decoder.unknownHere(chosen);
  if (reason !== undefined) return { ...unknownFact(state, address, reason, here[0]), fits: [] };
  let word: LockWord;
  try {
    word = state.decoder.decode(address, chosen);
  } catch (error) {
    if (!(error instanceof PalimpsestError)) throw error;
    return { ...unknownFact(state, address, error.message, here[0]), fits: [] };
  }
  const [proven] = here;
  const spinning = chosen === "ticket" || chosen === "xen-byte" || chosen === "qspinlock";
  const kind = spinning ? "raw-spinlock" : chosen === "qrwlock" || chosen === "rwlock" ? "rwlock" : chosen;
  const lock: KnownLock = {
    address,
    kind: kind === "rt-spinlock" ? "spinlock" : kind,
    form: chosen,
    name: proven?.name,
    evidence: () => `--type ${chosen} was given${proven === undefined ? "" : `; ${proven.evidence()}`}`,
  };
  const fact = facts.fact(lock, chosen, word);
  if (proven === undefined || facts.formOf(proven) === chosen) return fact;
  // What it is not says nothing about it.
  const form = facts.formOf(proven) ?? proven.kind;
  const problem = `it is no ${chosen} but a ${form}: ${proven.evidence()}`;
  return { ...fact, state: "unknown", meaning: `read as a ${word.type}: ${fact.meaning}`, problems: [problem] };
}

/** Bytes of no proven type, and which types they fit. */
function unknownFact(state: LockState, address: VirtualAddress, why: string, lock?: KnownLock): LockFact {
  const { kernel, decoder } = state;
  const fits = decoder.fitting(address).map(({ form, word }) => ({
    option: form,
    type: word.type,
    state: word.state,
    fields: word.fields,
    meaning: word.meaning,
  }));
  const what = fits.length === 0 ? "they fit no kind of lock that this kernel has" : "what they fit proves nothing";
  return {
    address: formatAddress(address),
    symbol: lock?.name ?? symbolOf(kernel, address),
    type: "unknown",
    state: "unknown",
    bytes: rawBytes(kernel, address),
    fields: {},
    meaning:
      lock === undefined ? `the bytes are shown as they are; ${what}` : `the bytes are shown as they are: ${why}`,
    waiters: [],
    evidence: lock?.evidence() ?? "none",
    problems: [why],
    fits: lock === undefined ? fits : [],
  };
}
