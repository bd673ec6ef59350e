// kCFI and FineIBT of kernels built by clang: function prefixes that hold a hash of the type, and callers that compare it.
// Boot mixes a seed into all hashes, and with FineIBT lets the callee compare instead (__apply_fineibt() in
// arch/x86/kernel/alternative.c, since 6.2). The new sequences are templates in .rodata, read from there.
import { fromKernelOffset, type KernelOffset } from "../../bytes/brand.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { getU32 } from "../../kernel/layouts/little-endian.ts";
import { hexBytes, putI32 } from "../../x86/encode.ts";
import { findSiteTable, findTable, type Mechanism, placesOf } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { SiteArrays } from "../base/site.ts";
import { ENDBR64, poisonOf, sealedPlaces } from "./endbr.ts";

/** enum cfi_mode; BTF tells it too, and it has never changed. */
const MODES = ["auto", "off", "kcfi", "fineibt"] as const;
/** Bytes from a prefix to its function: FUNCTION_PADDING_CFI + 5, with CALL_PADDING, which FineIBT needs. */
const PREFIX = 16;
/** The place of the hash in a template. */
const MARK = [0x78, 0x56, 0x34, 0x12] as const;
const MAX_TEMPLATE = 64;
const MOV_R10D = [0x41, 0xba] as const;
const JMP8 = 0xeb;
/** Bytes of kCFI's comparison in front of a call, in every release. */
const CALLER = 14;

interface Template {
  readonly bytes: Uint8Array;
  /** offset of the hash */
  readonly hash: number;
}

interface Cfi {
  readonly mode: (typeof MODES)[number];
  /** undefined when hashes stay as built */
  readonly seed: number | undefined;
  /** bytes in front of an indirect call, which kCFI and FineIBT share */
  readonly callerSize: number;
  readonly preamble: Template;
  readonly caller: Template;
}

/** What this kernel's boot did with CFI; "unknown" in a variant that is not known; undefined when it rewrites nothing. */
function readCfi(kernel: Kernel): Cfi | "unknown" | undefined {
  const callers = between(kernel, "fineibt_caller_start", "fineibt_caller_end");
  const preambles = between(kernel, "fineibt_preamble_start", "fineibt_preamble_end");
  const value = (name: string, size: number): number | undefined => {
    const at = kernel.find(name);
    const bytes = at === undefined ? undefined : kernel.memory.tryRead(at, size);
    return bytes === undefined ? undefined : size === 1 ? bytes[0] : getU32(bytes, 0);
  };
  if (kernel.find("fineibt_preamble_start") === undefined) return undefined; // without CONFIG_FINEIBT
  const mode = MODES[value("cfi_mode", 4) ?? -1];
  const caller = callers && templateOf(callers);
  const preamble = preambles && templateOf(preambles);
  const variants = (value("cfi_paranoid", 1) ?? 0) + (value("cfi_bhi", 1) ?? 0);
  if (mode === undefined || mode === "auto" || caller === undefined || preamble === undefined) return "unknown";
  if (mode === "fineibt" && variants !== 0) return "unknown";
  const random = value("cfi_rand", 1);
  const seed = value("cfi_seed", 4);
  if (random === undefined || (random !== 0 && seed === undefined)) return "unknown";
  return { mode, seed: random === 0 ? undefined : seed, callerSize: caller.bytes.length, preamble, caller };
}

function between(kernel: Kernel, start: string, end: string): Uint8Array | undefined {
  const from = kernel.find(start);
  const to = kernel.find(end);
  if (from === undefined || to === undefined || to <= from || to - from > BigInt(MAX_TEMPLATE)) return undefined;
  return kernel.memory.tryRead(from, Number(to - from));
}

function templateOf(bytes: Uint8Array): Template | undefined {
  const hash = bytes.findIndex((_, at) => MARK.every((byte, i) => bytes[at + i] === byte));
  return hash < 0 ? undefined : { bytes, hash };
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
  const id = mechanismId("cfi");
  const { callerSize, seed } = cfi;
  const sites = new SiteArrays(prefixes.length + calls.length);
  const mixed = (hash: number): number => (seed === undefined ? hash : rehash(hash, seed));
  const poison = cfi.mode === "fineibt" ? poisonOf(context, sealedPlaces(context)) : undefined;
  /** 7.x leaves functions without ENDBR alone; its template reaches over the function's own first bytes. */
  const modern = cfi.preamble.bytes.length > PREFIX;
  for (const at of prefixes) {
    const before = space.read(at, 5);
    // mov $hash, %eax; with FINEIBT_BHI the register tells the number of arguments
    if (before === undefined || (before[0] & 0xf8) !== 0xb8) continue;
    const hash = mixed(getU32(before, 1));
    const bytes = filled(cfi.preamble, hash);
    const own = space.read(at + PREFIX, ENDBR64.length);
    const hasEndbr = own !== undefined && ENDBR64.every((byte, i) => own[i] === byte);
    if (cfi.mode === "fineibt" && (!modern || hasEndbr)) {
      sites.add(at, bytes.length);
      space.write(at, bytes, id);
      if (hasEndbr && !modern && poison !== undefined) space.write(at + PREFIX, poison, id);
    } else {
      sites.add(at, 5);
      if (seed !== undefined) space.write(at + 1, word(hash), id);
    }
  }
  for (const call of calls) {
    const at = call - callerSize;
    const before = space.read(at, callerSize);
    if (before === undefined || before[0] !== MOV_R10D[0] || before[1] !== MOV_R10D[1]) continue;
    const hash = mixed(-getU32(before, 2) >>> 0);
    if (hash === 0) continue;
    sites.add(at, callerSize);
    if (cfi.mode === "fineibt") space.write(at, filled(cfi.caller, hash), id);
    else {
      if (seed !== undefined) space.write(at + 2, word(-hash), id);
      if (cfi.mode === "off") space.write(at, Uint8Array.of(JMP8, callerSize - 2), id);
    }
  }
  return {
    mechanism: "cfi",
    object: object.name,
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
          cfi.mode === "fineibt" ? "FineIBT: the callee compares" : `kCFI is ${cfi.mode === "off" ? "off" : "on"}`,
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
  if (cfi === undefined || cfi === "unknown" || cfi.mode === "off") return undefined;
  const { space } = context;
  const places = sealedPlaces(context);
  const poison = poisonOf(context, places);
  const id = mechanismId("cfi");
  const modern = cfi.preamble.bytes.length > PREFIX;
  const zero = new Uint8Array(4);
  for (const func of places) {
    const at = func - PREFIX;
    const start = space.read(at, ENDBR64.length);
    if (start === undefined) continue;
    if (cfi.mode === "kcfi") {
      if (!modern || (start[0] & 0xf8) === 0xb8) space.write(at + 1, zero, id);
      continue;
    }
    const endbr = ENDBR64.every((byte, i) => start[i] === byte);
    if (endbr) space.write(at, poison, id);
    if (endbr || !modern) space.write(at + cfi.preamble.hash, zero, id);
  }
  return undefined;
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
  for (const at of prefixes) pass(at, PREFIX + ENDBR64.length);
  for (const call of calls) pass(call - CALLER, CALLER + 6);
  context.unknown.push({
    id: "unknown.mechanism",
    mechanism: "cfi",
    object: object.name,
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
