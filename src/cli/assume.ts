// `prove --assume slot=function`: what the kernel's own patching would have written, had the slot held that function. The
// audit's replay is run over a kernel whose slot says so; where it differs from the dump, the proof sees its bytes.
import { auditDump } from "../audit/audit.ts";
import { fromKernelOffset, type VirtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { resolvePlace } from "../kernel/where.ts";
import type { VirtualMemory } from "../memory/types.ts";
import type { Preset } from "../prove/types.ts";
import type { CommandContext } from "./commands/common.ts";
import { UsageError } from "./failure.ts";

/** "pv_lock_ops+0x28=__ticket_spin_unlock" → the slot's address and the function's. */
function parse(kernel: Kernel, text: string): { slot: VirtualAddress; target: VirtualAddress } {
  const equals = text.indexOf("=");
  if (equals < 1)
    throw new UsageError(`--assume ${text}: write SLOT=FUNCTION`, "for example pv_lock_ops+0x28=__ticket_spin_unlock");
  return {
    slot: slotAddress(kernel, text.slice(0, equals)),
    target: resolvePlace(kernel, text.slice(equals + 1)).address,
  };
}

const STRUCTURES: Readonly<Record<string, string>> = {
  pv_ops: "struct paravirt_patch_template",
  pv_lock_ops: "struct pv_lock_ops",
  pv_ops_lock: "struct pv_lock_ops",
};

/** symbol+0x28, or pv_ops.lock.queued_spin_unlock by the kernel's own layouts. */
function slotAddress(kernel: Kernel, text: string): VirtualAddress {
  const dot = text.indexOf(".");
  const type = dot < 0 ? undefined : STRUCTURES[text.slice(0, dot)];
  if (type === undefined) return resolvePlace(kernel, text).address;
  const path = text.slice(dot + 1);
  const base = kernel.address(text.slice(0, dot));
  const member = kernel.structures.find(type, `${path}.func`) ?? kernel.structures.find(type, path);
  if (member === undefined) throw new UsageError(`--assume ${text}: ${type} has no member ${path}`);
  return (base + BigInt(member.offset)) as VirtualAddress;
}

/** The kernel with other values in some 8-byte slots. */
function withSlots(kernel: Kernel, slots: ReadonlyMap<bigint, bigint>): Kernel {
  const { memory } = kernel;
  const change = (address: bigint, bytes: Uint8Array): Uint8Array => {
    for (const [slot, value] of slots) {
      for (let i = 0; i < 8; i++) {
        const at = Number(slot + BigInt(i) - address);
        if (at >= 0 && at < bytes.length) bytes[at] = Number((value >> BigInt(8 * i)) & 0xffn);
      }
    }
    return bytes;
  };
  const changed: VirtualMemory = Object.assign(Object.create(memory) as VirtualMemory, {
    read: (address: VirtualAddress, length: number) => change(address, memory.read(address, length)),
    tryRead: (address: VirtualAddress, length: number) => {
      const bytes = memory.tryRead(address, length);
      return bytes && change(address, bytes);
    },
  });
  return Object.create(kernel, { memory: { value: changed } }) as Kernel;
}

/** The bytes that the assumption changes, over all audited code. */
export async function assumedPresets(context: CommandContext, assumptions: readonly string[]): Promise<Preset[]> {
  const { kernel, session, options } = context;
  const slots = new Map<bigint, bigint>();
  const presets: Preset[] = [];
  for (const text of assumptions) {
    const { slot, target } = parse(kernel, text);
    slots.set(slot, target);
    presets.push({
      address: slot,
      bytes: Uint8Array.from({ length: 8 }, (_, i) => Number((target >> BigInt(8 * i)) & 0xffn)),
    });
  }
  const audit = auditDump(withSlots(kernel, slots), await session.images(), { force: options.force });
  let patched = 0;
  for (const object of audit.objects) {
    for (const [region, found] of object.found) {
      for (let i = 0; i < region.intended.length; i++) {
        if (region.intended[i] === found.bytes[i]) continue;
        let end = i + 1;
        while (end < region.intended.length && region.intended[end] !== found.bytes[end]) end++;
        presets.push({ address: fromKernelOffset(region.start + i), bytes: region.intended.slice(i, end) });
        patched += end - i;
        i = end;
      }
    }
  }
  if (patched === 0)
    throw new UsageError(
      `--assume ${assumptions.join(", ")}: no site would change`,
      "the slot's sites already hold that function",
    );
  return presets;
}
