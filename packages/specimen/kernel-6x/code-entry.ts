// The specimen's low-level text: startup, thunks, ftrace entry. Same behaviour and same patch sites as a 6.1 build.
import { fn, mark } from "../asm/function.ts";
import { callTo, concat, nops } from "../asm/patched.ts";
import { hex } from "../bytes.ts";
import type { Unit } from "../object/unit.ts";
import { FEATURE } from "./features.ts";
import { alternative, ret } from "./sites.ts";

const THUNKS = ".text..__x86.indirect_thunk";
const REGISTERS = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"].concat(
  [8, 9, 10, 11, 12, 13, 14, 15].map((n) => `r${n}`),
);

/** The sixteen retpoline thunks, 32 bytes each, and the return thunk. */
function thunks(unit: Unit): void {
  unit.section(THUNKS, { align: 32 }).bytes.align(32);
  unit.define("__x86_indirect_thunk_array", THUNKS, { kind: "notype" });
  REGISTERS.forEach((register, n) => {
    const branch = hex(n > 7 ? `41ff${(0xe0 + n - 8).toString(16)}` : `ff${(0xe0 + n).toString(16)}`);
    const body = alternative(
      ["call .do", ".trap:", "pause", "lfence", "jmp .trap", ".do:", `mov [rsp], ${register}`, ret()],
      [
        { feature: FEATURE.RETPOLINE_LFENCE, code: ["lfence", `jmp ${register}`, "int3"] },
        { feature: FEATURE.RETPOLINE, not: true, code: [`jmp ${register}`] },
      ],
      (m) => (m.has(FEATURE.RETPOLINE) ? undefined : concat(branch, nops(21 - branch.length))),
    );
    fn(unit, `__x86_indirect_thunk_${register}`, [body], { section: THUNKS, align: 32 });
  });
  fn(unit, "__x86_return_thunk", ["ret", "int3"], { section: THUNKS });
}

const SAVE = `
  mov [rsp+0x50], rax
  mov [rsp+0x58], rcx
  mov [rsp+0x60], rdx
  mov [rsp+0x68], rsi
  mov [rsp+0x70], rdi
  mov [rsp+0x48], r8
  mov [rsp+0x40], r9
  mov qword [rsp+0x78], 0
  mov rdx, rbp
  mov [rsp+0x20], rdx`;
const RESTORE = `
  mov rbp, [rsp+0x20]
  mov r9, [rsp+0x40]
  mov r8, [rsp+0x48]
  mov rdi, [rsp+0x70]
  mov rsi, [rsp+0x68]
  mov rdx, [rsp+0x60]
  mov rcx, [rsp+0x58]
  mov rax, [rsp+0x50]`;

/** __fentry__, the stub, and ftrace_caller, whose inner call is rewritten while functions are traced. */
function ftrace(unit: Unit, tracing: boolean): void {
  fn(unit, "ftrace_stub", [ret()]);
  fn(unit, "__fentry__", [ret()]);
  fn(unit, "ftrace_caller", [
    `sub rsp, 0xa8
     ${SAVE}
     mov rsi, [rsp+0xb0]
     mov rdi, [rsp+0xa8]
     mov [rsp+0x80], rdi
     sub rdi, 5
     lea rcx, [rsp+0xb0]
     mov [rsp+0x98], rcx
     ftrace_caller_op_ptr:
     mov rdx, [rip+function_trace_op]
     lea rcx, [rsp]
     mov qword [rsp+0x88], 0
     ftrace_call:`,
    (w) =>
      w.site({
        mechanism: "ftrace",
        length: 5,
        slot: "ftrace_trace_function",
        after: (m, at) => (tracing ? callTo(m, at, "arch_ftrace_ops_list_func") : undefined),
      }),
    `call ftrace_stub
     mov rax, [rsp+0x80]
     mov [rsp+0xa8], rax
     ${RESTORE}
     add rsp, 0xa8
     ftrace_caller_end:`,
    ret(),
  ]);
  fn(unit, "arch_ftrace_ops_list_func", [
    `push rbx
     mov rbx, [rip+ftrace_ops_list]
     .next:
     cmp rbx, $ftrace_list_end
     je .done
     mov rax, [rbx]
     call rax
     mov rbx, [rbx+8]
     jmp .next
     .done:
     pop rbx`,
    ret(),
  ]);
  unit.define("ftrace_ops_list_func", ".text", { offset: unit.symbols.get("arch_ftrace_ops_list_func")!.offset });
  for (const name of ["function_trace_call", "probe_trace_call"])
    fn(unit, name, ["inc qword [rip+trace_hits]", ret()], { global: false });
}

/** Startup code: the first byte of the kernel's text, and where the idle threads' stacks end. */
function startup(unit: Unit): void {
  unit.section(".head.text", { flags: 6, align: 4096 });
  fn(
    unit,
    "startup_64",
    ["lea rsi, [rip+boot_cpu_data]", "jmp near .after", ".after:", "mov rax, $secondary_startup_64", "jmp rax"],
    { section: ".head.text", align: 4096, frame: "end" },
  );
  fn(
    unit,
    "secondary_startup_64",
    ["mov rax, [rip+initial_code]", "call rax", mark("secondary_startup_64"), ".hang:", "jmp .hang"],
    {
      section: ".head.text",
      frame: "end",
    },
  );
}

export function entryCode(unit: Unit, options: { readonly tracing: boolean }): void {
  startup(unit);
  ftrace(unit, options.tracing);
  thunks(unit);
  fn(unit, "__static_call_return0", ["xor eax, eax", ret()]);
  fn(unit, "__static_call_return", ["ret", "int3"]);
  fn(unit, "_paravirt_nop", [ret()], { section: ".entry.text" });
  fn(unit, "paravirt_ret0", ["xor rax, rax", ret()], { section: ".entry.text" });
}
