// The state bits of dyn_ftrace.flags moved four times, and no type table tells macros and few tell enumerators: the
// records themselves show which layout theirs is (include/linux/ftrace.h).

/** Bits of dyn_ftrace.flags since 3.16; the low bits count references. Older layouts are turned into these. */
export const FTRACE_FL = {
  ENABLED: 0x80000000,
  REGS_EN: 0x20000000,
  TRAMP_EN: 0x08000000,
  DISABLED: 0x02000000,
  DIRECT_EN: 0x00800000,
} as const;

/**
 * - "converted": up to 2.6.39, no counter; bit 5 marks every record that was made a NOP, bit 3 those enabled
 * - "bit-30": 3.0 to 3.6
 * - "bit-29": 3.7 to 3.15, with REGS_EN in bit 31
 * - "bit-31": since 3.16
 */
export type FtraceFlagLayout = "converted" | "bit-30" | "bit-29" | "bit-31";

const CONVERTED = 0x20;
const CONVERTED_ENABLED = 0x08;
const BIT_29 = 0x20000000;
const BIT_30 = 0x40000000;
const BIT_31 = 0x80000000;

/**
 * @param raw low 32 bits of each record's flags
 * @param recent the kernel is 3.7 or newer: it has ftrace_regs_caller
 */
export function flagLayout(raw: readonly number[], recent: boolean): FtraceFlagLayout {
  if (recent) {
    // A record saves registers only while it is enabled: bit 29 without bit 31 is ENABLED, and then REGS_EN is bit 31.
    return raw.some((flags) => (flags & BIT_29) !== 0 && (flags & BIT_31) === 0) ? "bit-29" : "bit-31";
  }
  const converted = raw.length > 0 && raw.every((flags) => flags < 0x40 && (flags & (CONVERTED | 1)) !== 0);
  return converted ? "converted" : "bit-30";
}

/** The flags in the bits of FTRACE_FL. */
export function normalFlags(flags: number, layout: FtraceFlagLayout): number {
  switch (layout) {
    case "bit-31":
      return flags;
    case "bit-30":
      return (flags & BIT_30) === 0 ? 0 : FTRACE_FL.ENABLED;
    case "converted":
      return (flags & CONVERTED_ENABLED) === 0 ? 0 : FTRACE_FL.ENABLED;
    case "bit-29":
      return ((flags & BIT_29) === 0 ? 0 : FTRACE_FL.ENABLED) + ((flags & BIT_31) === 0 ? 0 : FTRACE_FL.REGS_EN);
  }
}
