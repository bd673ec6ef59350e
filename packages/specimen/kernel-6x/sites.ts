// The macros that emit patch sites as a 6.1 build has them: the built bytes, the table entry, and the declaration
// of what boot makes of them. Layouts: include/asm-generic/vmlinux.lds.h and arch/x86/include/asm/ of 6.1.

import type { FunctionWriter, Part } from "../asm/function.ts";
import { BARE_RETURN, callTo, concat, jumpTo, near, nops } from "../asm/patched.ts";
import { hex } from "../bytes.ts";
import type { Machine, Unit } from "../object/unit.ts";
import { FEATURE } from "./features.ts";

type Macro = (w: FunctionWriter) => void;

/** ftrace flags: enabled; has a trampoline of its own; and the reference count in the low bits. */
export const FTRACE = { ENABLED: 1n << 31n, TRAMP: 1n << 28n, TRAMP_EN: 1n << 27n } as const;

/** `call __fentry__`. `traced` names what the call reaches while tracing is on. */
export function mcount(traced?: { readonly to: string; readonly flags: bigint }): Macro {
  return (w) => {
    const at = w.offset;
    w.site({
      mechanism: "ftrace",
      length: 5,
      after: (m, a) => (traced ? callTo(m, a, traced.to) : nops(5)),
    });
    w.unit.word("__mcount_loc", w.unit.place(w.section, at));
    w.unit.traced.push({ place: w.unit.place(w.section, at), flags: traced?.flags ?? 0n });
    w.line("call __fentry__");
  };
}

/** `jmp __x86_return_thunk` in place of `ret`. */
export function ret(): Macro {
  return (w) => {
    w.site({
      mechanism: "returns",
      length: 5,
      after: (m) => (m.has(FEATURE.RETHUNK) ? undefined : BARE_RETURN),
    });
    w.unit.relative(".return_sites", w.unit.place(w.section, w.offset));
    w.line("jmp __x86_return_thunk");
  };
}

const NUMBERS: Readonly<Record<string, number>> = { rax: 0, rcx: 1, rdx: 2, rbx: 3, r8: 8, r11: 11 };

/** `call` or `jmp __x86_indirect_thunk_REG`; `prefix` adds the 2e that lets a register above 7 fit an lfence. */
export function retpoline(kind: "call" | "jmp", register: string, prefix = false): Macro {
  return (w) => {
    const length = prefix ? 6 : 5;
    w.site({
      mechanism: "retpolines",
      length,
      after: (m) => {
        if (m.has(FEATURE.RETPOLINE) && !m.has(FEATURE.RETPOLINE_LFENCE)) return undefined;
        const n = NUMBERS[register];
        const lfence = m.has(FEATURE.RETPOLINE_LFENCE) ? hex("0faee8") : hex("");
        const branch = concat(
          lfence,
          hex(n > 7 ? "41" : ""),
          Uint8Array.of(0xff, (kind === "call" ? 0xd0 : 0xe0) + (n & 7)),
        );
        const stop = kind === "jmp" && branch.length < length ? hex("cc") : hex("");
        return concat(branch, stop, nops(length - branch.length - stop.length));
      },
    });
    w.unit.relative(".retpoline_sites", w.unit.place(w.section, w.offset));
    if (prefix) {
      // The prefix belongs to the instruction: the site starts at it.
      w.bytes([0x2e]);
    }
    w.line(`${kind} __x86_indirect_thunk_${register}`);
  };
}

/** An instruction whose `lock` prefix a machine with one CPU does without. */
export function smpLock(line: string): Macro {
  return (w) => {
    w.site({ mechanism: "smp-locks", length: 1, after: (m) => (m.cpus === 1 ? hex("3e") : undefined) });
    w.unit.relative(".smp_locks", w.unit.place(w.section, w.offset));
    w.line(`lock ${line}`);
  };
}

export interface JumpLabel {
  readonly key: string;
  /** entry.key bit 0: the branch is taken when the key is off (static_branch_likely) */
  readonly likely: boolean;
  readonly target: string;
  readonly size: 2 | 5;
  /** what the image holds: a nop (objtool, entry.key bit 1) or the jump (arch_static_branch_jump) */
  readonly built: "nop" | "jmp";
  /** what the running kernel holds */
  readonly now: "nop" | "jmp";
}

/** A static branch. */
export function jumpLabel(j: JumpLabel): Macro {
  return (w) => {
    const at = w.offset;
    const jump = (target: bigint, a: bigint) =>
      j.size === 2 ? Uint8Array.of(0xeb, Number(BigInt.asUintN(8, target - a - 2n))) : near(0xe9, a, target);
    w.site({
      mechanism: "jump-labels",
      length: j.size,
      slot: j.key,
      after: (m, a) => (j.now === "nop" ? nops(j.size) : jump(m.address(w.target(j.target)), a)),
    });
    if (j.built === "nop") w.bytes(nops(j.size));
    else w.line(j.size === 2 ? `jmp ${j.target}` : `jmp near ${j.target}`);
    w.atEnd(() => {
      const table = w.unit.section("__jump_table", { align: 8, flags: 3 });
      w.unit.relative("__jump_table", w.unit.place(w.section, at));
      w.unit.relative("__jump_table", w.target(j.target));
      const flags = (j.likely ? 1 : 0) | (j.built === "nop" ? 2 : 0);
      table.relocations.push({ offset: table.bytes.length, kind: "pc64", symbol: j.key, addend: flags });
      table.bytes.u64(0);
    });
  };
}

export interface StaticCall {
  readonly name: string;
  /** "call", "jmp" for a tail call, or a conditional tail call */
  readonly kind: "call" | "jmp" | "jne";
  /** the function that the key holds now; null, or "return0" */
  readonly now: string | null;
  /** modules name the trampoline, since the key is not exported to them */
  readonly viaTrampoline?: boolean;
}

function staticCallBytes(m: Machine, at: bigint, s: StaticCall): Uint8Array {
  const rethunk = m.has(FEATURE.RETHUNK);
  if (s.kind === "jne") {
    const target = s.now ?? (rethunk ? "__x86_return_thunk" : "__static_call_return");
    return concat(hex("0f85"), jumpTo(m, at + 1n, target).subarray(1));
  }
  if (s.kind === "jmp") {
    if (s.now === null) return rethunk ? jumpTo(m, at, "__x86_return_thunk") : BARE_RETURN;
    return jumpTo(m, at, s.now);
  }
  if (s.now === null) return nops(5);
  return s.now === "__static_call_return0" ? hex("2e2e2e31c0") : callTo(m, at, s.now);
}

/** A static call site. */
export function staticCall(s: StaticCall): Macro {
  return (w) => {
    const at = w.offset;
    w.site({
      mechanism: "static-calls",
      length: s.kind === "jne" ? 6 : 5,
      slot: s.name,
      after: (m, a) => staticCallBytes(m, a, s),
    });
    w.line(`${s.kind} __SCT__${s.name}`);
    w.unit.section(".static_call_sites", { align: 4, flags: 3 });
    w.unit.relative(".static_call_sites", w.unit.place(w.section, at));
    const tail = s.kind === "call" ? 0 : 1;
    w.unit.relative(".static_call_sites", `${s.viaTrampoline ? "__SCT__" : "__SCK__"}${s.name}`, tail);
  };
}

/** A static call's key and trampoline. `built` is the function it starts with, `now` the one it holds. */
export function defineStaticCall(unit: Unit, name: string, built: string | null, now: string | null): void {
  unit.words(`__SCK__${name}`, ".data", [built ?? 0n, 0n]);
  const text = unit.section(".static_call.text", { align: 4 });
  text.bytes.align(4, 0xcc);
  const offset = text.bytes.length;
  unit.define(`__SCT__${name}`, ".static_call.text", { size: 8 });
  if (built === null) unit.relative(".return_sites", unit.place(".static_call.text", offset));
  unit.relative(".static_call_tramp_key", `__SCT__${name}`);
  unit.relative(".static_call_tramp_key", `__SCK__${name}`);
  const target = built ?? "__x86_return_thunk";
  text.bytes.u8(0xe9);
  text.relocations.push({ offset: offset + 1, kind: "plt32", symbol: target, addend: -4 });
  text.bytes.u32(0).bytes(hex("0fb9cc"));
  unit.sites.push({
    mechanism: "static-calls",
    section: ".static_call.text",
    offset,
    length: 5,
    slot: name,
    after: (m, a) => staticCallBytes(m, a, { name, kind: "jmp", now }),
  });
}

export interface Alternative {
  readonly feature: number;
  readonly not?: boolean;
  readonly code: readonly string[];
}

/**
 * ALTERNATIVE(old, new, feature …): `after` is what this machine's boot leaves there.
 * @param old assembly lines; padded with single-byte nops to the longest replacement
 */
export function alternative(
  old: readonly Part[],
  entries: readonly Alternative[],
  after: (m: Machine, at: bigint) => Uint8Array | undefined,
): Macro {
  return (w) => {
    const start = w.offset;
    for (const part of old) {
      if (typeof part === "string") w.line(part);
      else part(w);
    }
    const repl = w.unit.section(".altinstr_replacement");
    const placed = entries.map((e) => {
      const offset = repl.bytes.length;
      w.elsewhere(".altinstr_replacement", e.code);
      return { offset, length: repl.bytes.length - offset };
    });
    const longest = Math.max(w.offset - start, ...placed.map((p) => p.length));
    if (w.offset - start < longest) w.bytes(new Uint8Array(longest - (w.offset - start)).fill(0x90));
    entries.forEach((e, i) => {
      const table = w.unit.section(".altinstructions").bytes;
      w.unit.relative(".altinstructions", w.unit.place(w.section, start));
      w.unit.relative(".altinstructions", w.unit.place(".altinstr_replacement", placed[i].offset));
      table.u16(e.feature | (e.not ? 0x8000 : 0));
      table.u8(longest).u8(placed[i].length);
    });
    w.site({ mechanism: "alternatives", length: longest, offset: start, after });
  };
}

export interface ParavirtCall {
  /** "irq.irq_disable": a member of struct paravirt_patch_template */
  readonly slot: string;
  /** its index in pointers */
  readonly index: number;
  /** the function in the slot; "nop" for _paravirt_nop, null for none */
  readonly to: string | null;
  /** native instruction that an alternative puts in place unless the feature is set */
  readonly native?: { readonly code: readonly string[]; readonly bytes: string; readonly unless: number };
}

/** `call *pv_ops+SLOT(%rip)`. */
export function paravirtCall(p: ParavirtCall): Macro {
  const call = (w: FunctionWriter) => {
    const table = w.unit.section(".parainstructions", { align: 8 });
    table.bytes.align(8);
    w.unit.word(".parainstructions", w.unit.place(w.section, w.offset));
    table.bytes.u8(p.index).u8(6).zeros(6);
    w.line(`call [rip+pv_ops+${p.index * 8}]`);
  };
  const direct = (m: Machine, at: bigint) => {
    if (p.to === "nop") return nops(6);
    return concat(callTo(m, at, p.to ?? "paravirt_BUG"), nops(1));
  };
  return (w) => {
    const { native } = p;
    if (!native) {
      w.site({ mechanism: "paravirt", length: 6, slot: p.slot, after: direct });
      call(w);
      return;
    }
    const inlined = concat(hex(native.bytes), nops(6 - hex(native.bytes).length));
    alternative([call], [{ feature: native.unless, not: true, code: native.code }], (m, at) =>
      m.has(native.unless) ? direct(m, at) : inlined,
    )(w);
  };
}

/** An int3 kprobe on the next instruction. @param original its bytes */
export function kprobe(original: string): Macro {
  return (w) => {
    w.site({ mechanism: "kprobes", length: 1, after: () => hex("cc") });
    w.unit.probed.push({ place: w.unit.place(w.section, w.offset), original: hex(original) });
  };
}

/** BUG(): ud2 with its entry in __bug_table (12 bytes: s32 address, s32 file, u16 line, u16 flags). */
export function bug(line: number): Macro {
  return (w) => {
    const table = w.unit.section("__bug_table", { flags: 3 });
    w.unit.relative("__bug_table", w.unit.place(w.section, w.offset));
    w.unit.relative("__bug_table", "bug_file_name");
    table.bytes.u16(line).u16(0);
    w.line("ud2");
  };
}
