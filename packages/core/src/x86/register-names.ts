// The general registers as the processor numbers them.

/** RAX 0, RCX 1, RDX 2, RBX 3, RSP 4 … R15 15 (Intel SDM vol. 2, table 2-2). */
export const REGISTER_NAMES = [
  "rax",
  "rcx",
  "rdx",
  "rbx",
  "rsp",
  "rbp",
  "rsi",
  "rdi",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
] as const;
export type RegisterName = (typeof REGISTER_NAMES)[number];
