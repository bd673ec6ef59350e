// Static calls: call sites listed by objtool in .static_call_sites and trampolines __SCT__*, both written from the
// function pointer in the key __SCK__* (kernel/static_call_inline.c, arch/x86/kernel/static_call.c, since 5.10).

import { fromKernelOffset, type KernelOffset, toKernelOffset } from "../../bytes/brand.ts";
import { getU64 } from "../../kernel/layouts/little-endian.ts";
import { branch32, CALL, getI32, isJcc32, JMP32, putI32, RET, rel32Target } from "../../x86/encode.ts";
import { heldLock, modulePending } from "../base/changes.ts";
import { findSiteTable, findTable, type Mechanism, nameOf, type SiteContext } from "../base/context.ts";
import { mechanismId } from "../base/mechanisms.ts";
import { wantsRethunkAt } from "../base/patch-state.ts";
import { SiteArrays, type SiteDetails } from "../base/site.ts";
import { callThunkTarget } from "./call-thunks.ts";
import { PLAIN_RETURN, returnBytes } from "./returns.ts";

/** struct static_call_site {s32 addr; s32 key}: key bit 0 tail call, bit 1 init section. */
const ENTRY = 8;
const TRAMPOLINE = 8;
/** cs cs cs xor %eax,%eax: call of __static_call_return0, since 5.16 */
const RETURN0 = Uint8Array.of(0x2e, 0x2e, 0x2e, 0x31, 0xc0);
/** ud1 (%edx),%rdi: call of __WARN_trap, 7.0 and newer */
const WARN_TRAP = Uint8Array.of(0x67, 0x48, 0x0f, 0xb9, 0x3a);
/** ds ds movb $0,(%rdi): native queued unlock, 7.3 */
const NATIVE_UNLOCK = Uint8Array.of(0x3e, 0x3e, 0xc6, 0x07, 0x00);

class StaticCalls {
  private readonly keys = new Map<KernelOffset, KernelOffset | null | undefined>();
  private readonly funcAt: number;
  private readonly return0: KernelOffset | undefined;
  private readonly warnTrap: KernelOffset | undefined;
  private readonly inlinesReturn0: boolean;

  constructor(readonly context: SiteContext) {
    this.funcAt = context.kernel.structures.find("struct static_call_key", "func")?.offset ?? 0;
    this.return0 = context.state.symbol("__static_call_return0");
    this.warnTrap = context.state.symbol("__WARN_trap");
    // 1e7e2e6d5b8e of 5.12 brought __static_call_return0 and its inlined form together; 5.10 has neither.
    this.inlinesReturn0 = this.return0 !== undefined;
  }

  /** The key's function; null for NULL, undefined when its page is not in the dump. */
  function(key: KernelOffset): KernelOffset | null | undefined {
    if (this.keys.has(key)) return this.keys.get(key);
    const { memory } = this.context.kernel;
    const bytes = key >= 0 && key < 2 ** 31 ? memory.tryRead(fromKernelOffset(key + this.funcAt), 8) : undefined;
    let value: KernelOffset | null | undefined;
    if (bytes !== undefined) {
      const raw = getU64(bytes, 0);
      value = raw === 0n ? null : toKernelOffset(raw);
    }
    this.keys.set(key, value);
    return value;
  }

  /** A site whose key has no function: its page is not in the dump, or it holds no address of the kernel's code. */
  passOver(key: KernelOffset, at: KernelOffset, length: number): void {
    const { context } = this;
    const there = key >= 0 && key < 2 ** 31 && context.kernel.memory.tryRead(fromKernelOffset(key + this.funcAt), 8);
    if (there) context.problems.push(`the static call key of ${nameOf(context, at)} holds no address of kernel code`);
    else context.space.forget(at, length, "static-calls", "static call key");
  }

  /** A site of a module may name the trampoline of a key that is not exported: the key then has the same name. */
  keyOf(target: KernelOffset): KernelOffset {
    const symbols = this.context.kernel.allSymbols.at(fromKernelOffset(target));
    const trampoline = symbols.find((symbol) => symbol.name.startsWith("__SCT__"));
    if (trampoline === undefined) return target;
    return this.context.state.symbol(`__SCK__${trampoline.name.slice(7)}`) ?? target;
  }

  /** __static_call_transform() for a call site. */
  siteBytes(at: KernelOffset, built: Uint8Array, func: KernelOffset | null, tail: boolean): Uint8Array {
    const { context } = this;
    const { state } = context;
    if (tail && isJcc32(built, 0)) {
      return this.conditional(at, built, func);
    }
    if (tail) return func === null ? this.nullReturn(at) : branch32(JMP32, at, func);
    if (func === null) return state.nops.atomic5;
    // The kernel looks for the inlined forms after translation: a counted function is called.
    const target = callThunkTarget(context, func);
    if (this.inlinesReturn0 && target === this.return0) return RETURN0;
    if (this.warnTrap !== undefined && target === this.warnTrap) return WARN_TRAP;
    if (this.isInlinedUnlock(target)) return NATIVE_UNLOCK;
    return branch32(CALL, at, target);
  }

  /**
   * A Jcc, as clang writes conditional tail calls. For NULL it returns: through __static_call_return, since 6.3 and where
   * it was ported back through a return thunk when the CPU needs one: the one in use, or __x86_return_thunk (6.1.y). Which
   * one depends on the moment as well (see nullReturn), so of these three the place itself tells.
   */
  private conditional(at: KernelOffset, built: Uint8Array, func: KernelOffset | null): Uint8Array {
    const { state, kernel } = this.context;
    const jump = (target: KernelOffset): Uint8Array => {
      const out = built.slice(0, 6);
      putI32(out, 2, target - (at + 6));
      return out;
    };
    if (func !== null) return jump(func);
    const plain = state.symbol("__static_call_return");
    const ways = state.rethunk ? [state.returnThunk, state.builtReturnThunk, plain] : [plain];
    const forms = ways.filter((target) => target !== undefined).map(jump);
    const found = kernel.memory.tryRead(fromKernelOffset(at), 6);
    return forms.find((form) => found?.every((byte, i) => byte === form[i])) ?? forms[0] ?? built.slice(0, 6);
  }

  /** A key whose sites hold inlined code as long as its function is the native one. */
  isUnlock(key: KernelOffset): boolean {
    return key === this.context.state.symbol("__SCK__queued_spin_unlock");
  }

  /** 7.3 makes queued_spin_unlock a static call and inlines its native target. */
  private isInlinedUnlock(func: KernelOffset): boolean {
    return (
      this.context.state.symbol("__SCK__queued_spin_unlock") !== undefined &&
      /native_queued_spin_unlock/.test(nameOf(this.context, func)) &&
      !/\+0x/.test(nameOf(this.context, func))
    );
  }

  trampolineBytes(at: KernelOffset, func: KernelOffset | null): Uint8Array {
    return func === null ? this.nullReturn(at) : branch32(JMP32, at, func);
  }

  /** The jump to the return thunk that was built at a trampoline, which the dump still holds. */
  isBuiltReturn(at: KernelOffset, current: Uint8Array): boolean {
    const { state, kernel } = this.context;
    if (current[0] !== JMP32 || rel32Target(current, 1, at + 5) !== state.builtReturnThunk) return false;
    const found = kernel.memory.tryRead(fromKernelOffset(at), 5);
    return found?.every((byte, i) => byte === current[i]) === true;
  }

  /**
   * RET of a NULL tail call. static_call_init() and early updates run before return thunks are chosen, and nothing
   * comes back to these places unless the key is updated (6.12 and newer do, for sites): then a plain RET stays. Which of
   * the two moments it was, only the place itself tells.
   */
  private nullReturn(at: KernelOffset): Uint8Array {
    const { context } = this;
    if (wantsRethunkAt(context.state, at)) {
      const found = context.kernel.memory.tryRead(fromKernelOffset(at), PLAIN_RETURN.length);
      if (found?.every((byte, i) => byte === PLAIN_RETURN[i])) return PLAIN_RETURN;
    }
    return returnBytes(context, at);
  }
}

/** Trampolines of one object with the key of each. */
function trampolines(calls: StaticCalls): { at: KernelOffset; key: KernelOffset }[] {
  const { context } = calls;
  const { object, kernel, state } = context;
  const section = findTable(object, ".static_call.text", "__static_call_text_start", "__static_call_text_end");
  const out: { at: KernelOffset; key: KernelOffset }[] = [];
  if (section === undefined) return out;
  for (let at = section.start; at + TRAMPOLINE <= section.start + section.bytes.length; at += 4) {
    for (const symbol of kernel.allSymbols.at(fromKernelOffset(at))) {
      if (!symbol.name.startsWith("__SCT__")) continue;
      const name = `__SCK__${symbol.name.slice(7)}`;
      const own = symbol.module === undefined ? undefined : kernel.allSymbols.lookupAll(name);
      const key =
        own === undefined
          ? state.symbol(name)
          : toKernelOffset((own.find((s) => s.module === symbol.module) ?? own[0])?.address ?? 0n);
      if (key !== undefined) out.push({ at, key });
      break;
    }
  }
  return out;
}

export const applyStaticCalls: Mechanism = (context) => {
  const { object, space } = context;
  const table = findSiteTable(
    context,
    { mechanism: "static-calls", size: ENTRY, type: "struct static_call_site" },
    ".static_call_sites",
    "__start_static_call_sites",
    "__stop_static_call_sites",
  );
  const calls = new StaticCalls(context);
  const tramps = trampolines(calls);
  if (table === undefined && tramps.length === 0) return undefined;
  const id = mechanismId("static-calls");
  const count = table === undefined ? 0 : Math.floor(table.bytes.length / ENTRY);
  const sites = new SiteArrays(count + tramps.length);
  const keyAt: KernelOffset[] = [];
  const tailAt: boolean[] = [];
  for (let i = 0; i < count && table !== undefined; i++) {
    const at = table.start + i * ENTRY + getI32(table.bytes, i * ENTRY);
    const flagged = table.start + i * ENTRY + 4 + getI32(table.bytes, i * ENTRY + 4);
    const key = calls.keyOf(flagged - (flagged & 3));
    const tail = (flagged & 1) === 1;
    const built = space.readBuilt(at, 6) ?? space.readBuilt(at, 5);
    const length = built !== undefined && tail && isJcc32(built, 0) ? 6 : 5;
    sites.add(at, length);
    keyAt.push(key);
    tailAt.push(tail);
    if (built === undefined) continue;
    const func = calls.function(key);
    if (func === undefined) {
      calls.passOver(key, at, length);
      continue;
    }
    space.write(at, calls.siteBytes(at, built, func, tail), id);
  }
  for (const { at, key } of tramps) {
    const current = space.read(at, 5);
    if (current === undefined) continue;
    const func = calls.function(key);
    sites.add(at, 5);
    keyAt.push(key);
    tailAt.push(true);
    if (func === undefined) {
      calls.passOver(key, at, 5);
      continue;
    }
    // Never updated and not a return site: the built RET with its own padding stays (5.10, before return thunks).
    if (func === null && current[0] === RET && !context.state.rethunk) continue;
    // Nor has it been updated before apply_returns() came to it, in a boot that stopped early.
    if (func === null && !context.kernel.initFreed && calls.isBuiltReturn(at, current)) continue;
    const bytes = calls.trampolineBytes(at, func);
    if (!bytes.every((byte, i) => byte === current[i])) space.write(at, bytes, id);
  }
  const words = (index: number): SiteDetails =>
    describe(calls, sites.offsets[index], sites.lengths[index], keyAt[index], tailAt[index]);
  // __static_call_update() writes key->func first, then site by site.
  const updating = heldLock(context, "static_call_mutex");
  return {
    mechanism: "static-calls",
    object: object.name,
    entries: count,
    table: `.static_call_sites (8-byte entries) and ${tramps.length} trampolines`,
    offsets: sites.offsets,
    lengths: sites.lengths,
    describe: words,
    pending:
      modulePending(context, (index) => ({ start: sites.offsets[index], length: sites.lengths[index] }), words) ??
      (updating === undefined ? undefined : { evidence: updating, key: (index) => BigInt(keyAt[index]) }),
  };
};

function describe(calls: StaticCalls, at: KernelOffset, length: number, key: KernelOffset, tail: boolean): SiteDetails {
  const { context } = calls;
  const func = calls.function(key);
  const value = func === undefined ? "not in the dump" : func === null ? "NULL" : nameOf(context, func);
  const built = context.space.readBuilt(at, length);
  const forms = tail
    ? [{ name: "plain RET", bytes: PLAIN_RETURN }]
    : [
        { name: "NOP (NULL function)", bytes: context.state.nops.atomic5 },
        { name: "xor %eax,%eax (__static_call_return0)", bytes: RETURN0 },
        ...(calls.isUnlock(key) ? [{ name: "movb $0,(%rdi) (native unlock)", bytes: NATIVE_UNLOCK }] : []),
      ];
  if (built !== undefined) forms.push({ name: "static call left as built", bytes: built });
  return {
    slot: {
      name: `static call key ${nameOf(context, key)}`,
      value,
      address: fromKernelOffset(key),
    },
    reason: `the key calls ${value}`,
    forms,
    callsFunctions: true,
  };
}
