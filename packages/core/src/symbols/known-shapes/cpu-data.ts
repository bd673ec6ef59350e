// struct cpuinfo_x86 without a description of it: in boot_cpu_data the vendor's twelve letters stand behind the
// capability words, whose first two must have the bits without which there is no 64-bit kernel.
import { type Discovered, Peek, type ShapeContext, symbolAddress, textAt } from "./peek.ts";
import type { ShapeMember } from "./shape-types.ts";

const WINDOW = 512;
/** CPUID 1 EDX: FPU, TSC, MSR, PAE, CX8, CMOV, FXSR, SSE, SSE2. A patched kernel may have cleared others. */
const BASE_BITS = 0x07008171;
/** CPUID 0x80000001 EDX: long mode. */
const LONG_MODE = 1 << 29;
const MIN_WORDS = 9;
const MAX_WORDS = 64;
/** offsetof(struct cpuinfo_x86, x86_capability) in 6.9 */
const LAST_OLD = 40;

/** Layout of struct cpuinfo_x86 (arch/x86/include/asm/processor.h), as far as it proves itself. */
export function discoverCpuData({ reader, symbols }: ShapeContext): Discovered | undefined {
  const address = symbolAddress(symbols, "boot_cpu_data");
  const view = address === undefined ? undefined : new Peek(reader).upTo(address, WINDOW);
  if (view === undefined) return undefined;
  for (let vendorAt = MIN_WORDS * 4; vendorAt + 80 <= view.byteLength; vendorAt += 4) {
    const vendor = textAt(view, vendorAt, 15);
    if (vendor === undefined || vendor.length !== 12 || !/^[A-Za-z ]+$/.test(vendor)) continue;
    const words = capabilityWords(view, vendorAt);
    if (words === undefined) continue;
    const at = vendorAt - words * 4;
    // family, vendor, model; since 6.10 model, family, vendor, with more before the words
    const order = at <= LAST_OLD ? ["x86", "x86_vendor", "x86_model"] : ["x86_model", "x86", "x86_vendor"];
    const members: ShapeMember[] = [
      ...order.map((name, i): ShapeMember => [name, i, "u8"]),
      ["x86_capability", at, `u32[${words}]`],
      ["x86_vendor_id", vendorAt, "char[16]"],
      ["x86_model_id", vendorAt + 16, "char[64]"],
    ];
    return {
      shapes: [{ name: "struct cpuinfo_x86", members }],
      evidence: [`boot_cpu_data: "${vendor}" at +${vendorAt}, ${words} capability words before it from +${at}`],
    };
  }
  return undefined;
}

/** The longest run of words up to the vendor's name that starts as capabilities do. */
function capabilityWords(view: DataView, vendorAt: number): number | undefined {
  for (let at = Math.max(12, vendorAt - MAX_WORDS * 4); at <= vendorAt - MIN_WORDS * 4; at += 4) {
    const first = view.getUint32(at, true);
    const second = view.getUint32(at + 4, true);
    if ((first & BASE_BITS) === BASE_BITS && (second & LONG_MODE) !== 0) return (vendorAt - at) / 4;
  }
  return undefined;
}
