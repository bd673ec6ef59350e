// kCFI and FineIBT of kernels built by clang: function prefixes that hold a hash of the type, and callers that compare it.
// Boot mixes a seed into all hashes, and with FineIBT lets the callee compare instead (__apply_fineibt() in
// arch/x86/kernel/alternative.c, since 6.2). The new sequences are templates in .rodata, read from there.
import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU32 } from "../../kernel/layouts/little-endian.ts";
import { branchAt } from "../../x86/branch.ts";
import { branch32, CALL, hexBytes, INT3, JMP32, putI32 } from "../../x86/encode.ts";
import { findSiteTable, findTable, type Mechanism, placesOf, type SiteContext } from "../base/context.ts";
import type { Votes } from "../base/era.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { SiteArrays } from "../base/site.ts";
import { ENDBR64, poisonOf, sealedPlaces } from "./endbr.ts";
import { paranoidThunkAt } from "./its-thunks.ts";

/** enum cfi_mode; BTF tells it too, and it has never changed. */
const MODES = ["auto", "off", "kcfi", "fineibt"] as const;
/** CFI_OFFSET, bytes from a prefix to its function, by CONFIG_FUNCTION_ALIGNMENT of 16, 32, 64 and 8 bytes, and without padding. */
const OFFSETS = [16, 32, 64, 8, 5] as const;
/** So many prefixes tell it. */
const OFFSET_SAMPLE = 64;
/** The place of the hash in a template. */
const MARK = [0x78, 0x56, 0x34, 0x12] as const;
const MAX_TEMPLATE = 64;
const MOV_R10D = [0x41, 0xba] as const;
const JMP8 = 0xeb;
/** Bytes of kCFI's comparison in front of a call, in every release. */
const CALLER = 14;
/** bhi_thunk */
const BHI_THUNK = 32;
const R11 = 11;
const CS = 0x2e;

interface Template {
  readonly bytes: Uint8Array;
  /** offset of the hash */
  readonly hash: number;
}

/** cfi=paranoid (6.15): the caller compares as well, over the indirect call behind it. */
interface Paranoid {
  readonly template: Template;
  /** offset of the indirect call */
  readonly call: number;
}

/** cfi=bhi (6.15, compilers that tell the number of arguments by the prefix's register). */
interface Bhi {
  /** offset in the preamble from which it is replaced */
  readonly at: number;
  /** __bhi_args[] */
  readonly thunks: KernelOffset;
  /** what one argument gets instead of a call; not with cfi=warn */
  readonly one: Uint8Array | undefined;
}

interface Cfi {
  readonly mode: (typeof MODES)[number];
  /** undefined when hashes stay as built */
  readonly seed: number | undefined;
  /** bytes in front of an indirect call, which kCFI and FineIBT share */
  readonly callerSize: number;
  readonly preamble: Template;
  readonly caller: Template;
  readonly paranoid: Paranoid | undefined;
  readonly bhi: Bhi | undefined;
}

/** What this kernel's boot did with CFI; "unknown" in a variant that is not known; undefined when it rewrites nothing. */
function readCfi(kernel: Kernel): Cfi | "unknown" | undefined {
  if (kernel.find("fineibt_preamble_start") === undefined) return undefined; // without CONFIG_FINEIBT
  const value = (name: string, size: number): number | undefined => {
    const at = kernel.find(name);
    const bytes = at === undefined ? undefined : kernel.memory.tryRead(at, size);
    return bytes === undefined ? undefined : size === 1 ? bytes[0] : getU32(bytes, 0);
  };
  const template = (name: string): Template | undefined => {
    const bytes = between(kernel, `${name}_start`, `${name}_end`);
    return bytes && templateOf(bytes);
  };
  const mode = MODES[value("cfi_mode", 4) ?? -1];
  const caller = template("fineibt_caller");
  const preamble = template("fineibt_preamble");
  if (mode === undefined || caller === undefined || preamble === undefined) return "unknown";
  // Not cfi_rand: clang keeps a static flag that starts as true and is only ever cleared the other way round. The seed stays
  // 0 unless hashes were mixed.
  const seed = value("cfi_seed", 4);
  if (seed === undefined) return "unknown";
  const fine = mode === "fineibt";
  const paranoid = fine && (value("cfi_paranoid", 1) ?? 0) !== 0 ? readParanoid(kernel, template, caller) : undefined;
  const bhi = fine && (value("cfi_bhi", 1) ?? 0) !== 0 ? readBhi(kernel, (value("cfi_warn", 1) ?? 0) !== 0) : undefined;
  if (paranoid === "unknown" || bhi === "unknown") return "unknown";
  const callerSize = caller.bytes.length;
  return { mode, seed: seed === 0 ? undefined : seed, callerSize, preamble, caller, paranoid, bhi };
}

function readParanoid(
  kernel: Kernel,
  template: (name: string) => Template | undefined,
  caller: Template,
): Paranoid | "unknown" {
  const paranoid = template("fineibt_paranoid");
  const call = distance(kernel, "fineibt_paranoid_start", "fineibt_paranoid_ind");
  const fits = paranoid !== undefined && call !== undefined && call < paranoid.bytes.length;
  return fits && paranoid.bytes.length > caller.bytes.length ? { template: paranoid, call } : "unknown";
}

function readBhi(kernel: Kernel, warn: boolean): Bhi | "unknown" {
  const at = distance(kernel, "fineibt_preamble_start", "fineibt_preamble_bhi");
  const thunks = kernel.find("__bhi_args");
  const one = between(kernel, "fineibt_bhi1_start", "fineibt_bhi1_end");
  const offset = thunks && toKernelOffset(thunks);
  if (at === undefined || offset === undefined || one === undefined) return "unknown";
  return { at, thunks: offset, one: warn ? undefined : one };
}

function distance(kernel: Kernel, start: string, end: string): number | undefined {
  const from = kernel.find(start);
  const to = kernel.find(end);
  return from === undefined || to === undefined || to <= from || to - from > BigInt(MAX_TEMPLATE)
    ? undefined
    : Number(to - from);
}

function between(kernel: Kernel, start: string, end: string): Uint8Array | undefined {
  const from = kernel.find(start);
  const size = distance(kernel, start, end);
  return from === undefined || size === undefined ? undefined : kernel.memory.tryRead(from, size);
}

function templateOf(bytes: Uint8Array): Template | undefined {
  const hash = bytes.findIndex((_, at) => MARK.every((byte, i) => bytes[at + i] === byte));
  return hash < 0 ? undefined : { bytes, hash };
}

/** Behind how many prefixes a function begins, for each of OFFSETS. */
export function offsetVotes({ kernel, object }: SiteContext): Votes {
  const table = findTable(object, ".cfi_sites", "__cfi_sites", "__cfi_sites_end");
  const sample = table === undefined ? new Uint32Array() : placesOf(table).subarray(0, OFFSET_SAMPLE);
  const isFunction = (at: KernelOffset): boolean =>
    kernel.allSymbols.at(fromKernelOffset(at)).some(({ name }) => !/^__(cfi|pfx)_/.test(name));
  const votes = OFFSETS.map((offset) => sample.filter((at) => isFunction(at + offset)).length);
  return { seen: sample.length, votes };
}

/** CFI_OFFSET of a kernel: how far in front of functions most prefixes lie. */
export function offsetOfVotes({ seen, votes }: Votes): number {
  const most = Math.max(...votes);
  return most * 2 > seen ? OFFSETS[votes.indexOf(most)] : OFFSETS[0];
}

function offsetOf(context: SiteContext): number {
  return context.era?.cfiOffset ?? offsetOfVotes(offsetVotes(context));
}

/** __is_endbr(): ENDBR64, ENDBR32 or what seals them. */
const isEndbr = (value: number): boolean =>
  (value & ~0x01000000) >>> 0 === 0xfa1e0ff3 || value >>> 0 === 0x001f0f66 || value >>> 0 === 0xd6401f0f;

/** cfi_rehash() */
export function rehash(hash: number, seed: number): number {
  let out = (hash ^ seed) >>> 0;
  while (isEndbr(out) || isEndbr(-out)) out = ((out >>> 1) ^ ((out & 1) === 0 ? 0 : 0x80200003)) >>> 0;
  return out;
}

const isEndbr64 = (bytes: Uint8Array | undefined): boolean => ENDBR64.every((byte, i) => bytes?.[i] === byte);

/** cfi_rewrite_preamble() and cfi_fineibt_bhi_preamble(): the bytes at `at`, which end with the function's own first ones since 6.15. */
function preambleBytes({ preamble, bhi }: Cfi, at: KernelOffset, hash: number, register: number): Uint8Array {
  const bytes = filled(preamble, hash);
  if (bhi === undefined || register === 0) return bytes;
  if (bhi.one !== undefined && register === 1) {
    bytes.set(bhi.one.subarray(0, bytes.length - bhi.at), bhi.at);
    return bytes;
  }
  // CS prefixes and a CALL that ends where the function begins.
  const end = bytes.length - ENDBR64.length;
  bytes.fill(CS, bhi.at, end - 5);
  bytes.set(branch32(CALL, at + end - 5, bhi.thunks + register * BHI_THUNK), end - 5);
  return bytes;
}

/** cfi_rewrite_callers() with cfi=paranoid; undefined where the kernel leaves the caller alone. */
function paranoidBytes(
  context: SiteContext,
  { template, call }: Paranoid,
  at: KernelOffset,
  callerSize: number,
  hash: number,
): Uint8Array | undefined {
  const built = context.space.read(at, callerSize + 6);
  const branch = built && branchAt(built, callerSize);
  if (branch?.kind !== "call" && branch?.kind !== "jmp") return undefined;
  const bytes = filled(template, hash);
  const isCall = branch.kind === "call";
  if (context.state.itsIndirect && ((at + call + 2) & 0x20) === 0) {
    const site = { length: branch.length, opcode: isCall ? CALL : JMP32, condition: -1, register: R11 };
    const trampoline = paranoidThunkAt(context, site, at + callerSize);
    if (trampoline === undefined || callerSize + trampoline.length !== bytes.length) return undefined;
    bytes.set(trampoline, callerSize);
  } else if (!isCall) {
    // emit_indirect(): JMP *%r11, and since 7.0 INT3 behind it, where the template's CALL has a prefix instead.
    const filler = bytes[call] === CS ? INT3 : bytes[bytes.length - 1];
    bytes.set([0x41, 0xff, 0xe3], call);
    bytes.fill(filler, call + 3);
  }
  return bytes;
}

export const applyCfi: Mechanism = (context) => {
  const { object, space, kernel } = context;
  const form = { mechanism: "cfi", size: 4 } as const;
  const table = findSiteTable(context, form, ".cfi_sites", "__cfi_sites", "__cfi_sites_end");
  const cfi = table === undefined ? undefined : readCfi(kernel);
  if (table === undefined || cfi === undefined) return undefined;
  const retpolines = findTable(object, ".retpoline_sites", "__retpoline_sites", "__retpoline_sites_end");
  const prefixes = placesOf(table);
  const calls = retpolines === undefined ? new Uint32Array() : placesOf(retpolines);
  if (cfi === "unknown") return undefined; // passOverCfi() comes when all others are through
  if (cfi.mode === "auto") return undefined; // __apply_fineibt() decides first: a boot that has not come to it
  const id = mechanismId("cfi");
  const { callerSize, seed, paranoid } = cfi;
  const sites = new SiteArrays(prefixes.length + calls.length);
  const mixed = (hash: number): number => (seed === undefined ? hash : rehash(hash, seed));
  const poison = cfi.mode === "fineibt" ? poisonOf(context) : undefined;
  const offset = offsetOf(context);
  /** Since 6.15 functions without ENDBR are left alone, and the template reaches over the function's own first bytes. */
  const modern = cfi.preamble.bytes.length > OFFSETS[0];
  for (const prefix of prefixes) {
    const before = space.read(prefix, 5);
    // mov $hash, %eax; with FINEIBT_BHI the register tells the number of arguments
    if (before === undefined || (before[0] & 0xf8) !== 0xb8) continue;
    const hash = mixed(getU32(before, 1));
    const hasEndbr = isEndbr64(space.read(prefix + offset, ENDBR64.length));
    if (cfi.mode === "fineibt" && modern && hasEndbr) {
      // At the end of a prefix that is longer than needed (64-byte alignment).
      if (seed !== undefined) space.write(prefix + 1, word(hash), id);
      const at = prefix + offset - (cfi.preamble.bytes.length - ENDBR64.length);
      const bytes = preambleBytes(cfi, at, hash, before[0] & 7);
      sites.add(at, bytes.length);
      space.write(at, bytes, id);
    } else if (cfi.mode === "fineibt" && !modern) {
      const bytes = filled(cfi.preamble, hash);
      sites.add(prefix, bytes.length + (hasEndbr ? ENDBR64.length : 0));
      space.write(prefix, bytes, id);
      if (hasEndbr && poison !== undefined) space.write(prefix + offset, poison, id);
    } else {
      sites.add(prefix, 5);
      if (seed !== undefined) space.write(prefix + 1, word(hash), id);
    }
  }
  for (const call of calls) {
    const at = call - callerSize;
    const before = space.read(at, callerSize);
    if (before === undefined || before[0] !== MOV_R10D[0] || before[1] !== MOV_R10D[1]) continue;
    const hash = mixed(-getU32(before, 2) >>> 0);
    if (hash === 0) continue;
    if (cfi.mode === "fineibt" && paranoid !== undefined) {
      const bytes = paranoidBytes(context, paranoid, at, callerSize, hash);
      sites.add(at, bytes?.length ?? callerSize);
      // cfi_disable_callers() and cfi_rand_callers() came before.
      space.write(at, Uint8Array.of(JMP8, callerSize - 2, ...word(-hash)), id);
      if (bytes !== undefined) space.write(at, bytes, id);
      continue;
    }
    sites.add(at, callerSize);
    if (cfi.mode === "fineibt") space.write(at, filled(cfi.caller, hash), id);
    else {
      if (seed !== undefined) space.write(at + 2, word(-hash), id);
      if (cfi.mode === "off") space.write(at, Uint8Array.of(JMP8, callerSize - 2), id);
    }
  }
  return {
    mechanism: "cfi",
    object: context.object.name,
    entries: prefixes.length,
    table: `${table.name} (4-byte entries) and ${sites.count - prefixes.length} callers`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: (index) => {
      const built = space.readBuilt(sites.offsets[index], sites.lengths[index]);
      return {
        slot: {
          name: "cfi_mode, cfi_seed",
          value: `${cfi.mode}, ${seed === undefined ? "none" : `0x${seed.toString(16)}`}`,
        },
        reason:
          cfi.mode === "fineibt"
            ? `FineIBT${paranoid === undefined ? "" : ", paranoid"}: the callee compares`
            : `kCFI is ${cfi.mode === "off" ? "off" : "on"}`,
        forms: built === undefined ? [] : [{ name: `as built: ${hexBytes(built)}`, bytes: built }],
      };
    },
  };
};

/** poison_cfi(): prefixes of sealed functions take no call any more. Comes with the sealing of their ENDBR. */
export const applyCfiSealing: Mechanism = (context) => {
  const cfi =
    context.state.symbol("__cfi_sites") === undefined && context.object.section(".cfi_sites") === undefined
      ? undefined
      : readCfi(context.kernel);
  if (cfi === undefined || cfi === "unknown" || cfi.mode === "off" || cfi.mode === "auto") return undefined;
  const { space } = context;
  const places = sealedPlaces(context);
  const poison = poisonOf(context);
  const id = mechanismId("cfi");
  const modern = cfi.preamble.bytes.length > OFFSETS[0];
  const offset = modern ? offsetOf(context) : OFFSETS[0];
  const zero = new Uint8Array(4);
  const sites = new SiteArrays(places.length);
  for (const func of places) {
    const prefix = func - offset;
    if (cfi.mode === "kcfi") {
      sites.add(prefix, 5);
      const start = space.read(prefix, 1);
      if (start !== undefined && (!modern || (start[0] & 0xf8) === 0xb8)) space.write(prefix + 1, zero, id);
      continue;
    }
    const at = modern ? func - (cfi.preamble.bytes.length - ENDBR64.length) : prefix;
    sites.add(at, cfi.preamble.hash + 4);
    const start = space.read(at, ENDBR64.length);
    if (start === undefined) continue;
    const endbr = isEndbr64(start);
    if (endbr) space.write(at, poison, id);
    if (endbr || !modern) space.write(at + cfi.preamble.hash, zero, id);
  }
  return {
    mechanism: "cfi",
    object: context.object.name,
    entries: 0, // counted as prefixes
    table: "prefixes of sealed functions",
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: () => ({
      slot: { name: "cfi_mode", value: cfi.mode },
      reason: "the function is never called indirectly: its prefix takes no call",
      forms: [],
    }),
  };
};

/** A variant that is not known: prefixes and callers that differ from what was built are left out, whatever wrote them. */
export const passOverCfi: Mechanism = (context) => {
  const { object, space, kernel } = context;
  const table = findTable(object, ".cfi_sites", "__cfi_sites", "__cfi_sites_end");
  if (table === undefined || readCfi(kernel) !== "unknown") return undefined;
  const retpolines = findTable(object, ".retpoline_sites", "__retpoline_sites", "__retpoline_sites_end");
  const calls = retpolines === undefined ? new Uint32Array() : placesOf(retpolines);
  const prefixes = placesOf(table);
  const pass = (at: KernelOffset, length: number): void => {
    const built = space.readBuilt(at, length);
    const found = built === undefined ? undefined : kernel.memory.tryRead(fromKernelOffset(at), length);
    if (found?.some((byte, i) => byte !== built?.[i])) space.leaveOut(at, length);
  };
  for (const at of prefixes) pass(at, OFFSETS[0] + ENDBR64.length);
  for (const call of calls) pass(call - CALLER, CALLER + 6);
  context.unknown.push({
    id: "unknown.mechanism",
    mechanism: "cfi",
    object: context.object.name,
    address: fromKernelOffset(table.start),
    length: table.bytes.length,
    what: `a variant of CFI that is not known: ${prefixes.length} function prefixes and ${calls.length} indirect calls are not judged`,
  });
  return undefined;
};

function filled(template: Template, hash: number): Uint8Array {
  const out = template.bytes.slice();
  putI32(out, template.hash, hash | 0);
  return out;
}

function word(value: number): Uint8Array {
  const out = new Uint8Array(4);
  putI32(out, 0, value | 0);
  return out;
}
