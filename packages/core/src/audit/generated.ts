// Generated code in the audit: one finding for each run of bytes that its owner did not write, the counts, and the plain
// facts that are printed.
import { addressAdd, formatAddress } from "../bytes/brand.ts";
import type { GeneratedAccount, GeneratedCounts, GeneratedFact } from "../results/generated-results.ts";
import type { TextForeign } from "../results/types.ts";
import type { Deviation, GeneratedCode } from "../sites/generated/generated-code.ts";
import { hexBytes } from "../x86/encode.ts";

/** In words of what it is: "trampoline of", "copied instruction of". */
const WORDS: Readonly<Record<GeneratedCode["kind"], string>> = {
  "ftrace-trampoline": "trampoline of",
  "kprobe-copies": "page of",
  "kprobe-copy": "copied instruction of the",
  "kprobe-detours": "page of",
  "kprobe-detour": "detour of the",
  "bpf-program": "BPF program",
  "bpf-trampoline": "BPF trampoline",
  "bpf-dispatcher": "BPF dispatcher",
  "bpf-other": "BPF image",
  "its-thunks": "ITS thunks of",
  "hypercall-page": "hypercall page of",
};

/** What is wrong with generated code; pieces that were being changed at the moment of the dump tell nothing. */
export function generatedFindings(pieces: readonly GeneratedCode[]): TextForeign[] {
  return pieces
    .filter((piece) => piece.changing === undefined)
    .flatMap((piece) => (piece.differs ?? []).map((run) => finding(piece, run)));
}

function finding(piece: GeneratedCode, { offset, found, expected }: Deviation): TextForeign {
  const object = `${WORDS[piece.kind]} ${piece.owner}`;
  const wanted = expected === undefined ? "" : hexBytes(expected);
  const count = found.length === 1 ? "1 byte" : `${found.length} bytes`;
  return {
    id: "text.foreign",
    severity: "error",
    address: formatAddress(addressAdd(piece.address, offset)),
    length: found.length,
    object,
    symbol: `${piece.owner}+0x${offset.toString(16)}`,
    title: `${count} in the ${object} that its owner did not write`,
    layers: { built: wanted, intended: wanted, found: hexBytes(found) },
    mechanism: piece.kind,
    notes: [
      `The kernel made this code while it ran: ${piece.kind} of ${piece.size} bytes at ${formatAddress(piece.address)}.`,
      ...(expected === undefined && piece.problem !== undefined ? [`${piece.problem}.`] : []),
    ],
  };
}

/** One piece as plain data. */
export function generatedFact(piece: GeneratedCode): GeneratedFact {
  const state = stateOf(piece);
  return {
    kind: piece.kind,
    owner: piece.owner,
    address: formatAddress(piece.address),
    bytes: piece.size,
    state,
    problem: (state === "changing" ? piece.changing : piece.problem) ?? null,
  };
}

function stateOf(piece: GeneratedCode): GeneratedFact["state"] {
  if (piece.problem === undefined) return !piece.checked ? "listed" : piece.partly ? "branches" : "checked";
  return piece.changing === undefined ? "differs" : "changing";
}

/** Counts over all pieces and by kind. */
export function generatedAccount(pieces: readonly GeneratedCode[]): GeneratedAccount {
  const kinds: Record<string, GeneratedCounts> = {};
  for (const kind of new Set(pieces.map((piece) => piece.kind))) {
    kinds[kind] = counts(pieces.filter((piece) => piece.kind === kind));
  }
  return { ...counts(pieces), kinds };
}

function counts(pieces: readonly GeneratedCode[]): GeneratedCounts {
  const states = pieces.map(stateOf);
  return {
    pieces: pieces.length,
    bytes: covered(pieces),
    checked: states.filter((state) => state === "checked" || state === "branches").length,
    differing: states.filter((state) => state === "differs").length,
  };
}

/** Bytes under at least one piece. */
function covered(pieces: readonly GeneratedCode[]): number {
  const sorted = [...pieces].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  let sum = 0;
  let end = 0n;
  for (const { address, size } of sorted) {
    const start = address > end ? address : end;
    const stop = address + BigInt(size);
    if (stop <= start) continue;
    sum += Number(stop - start);
    end = stop;
  }
  return sum;
}
