// Where the members of the log's structures lie: by the kernel's types, else by VMCOREINFO, which exports just these for
// readers of dumps (log_buf_vmcoreinfo_setup(), kernel/printk/printk.c).
import { type VirtualAddress, virtualAddress } from "../../bytes/brand.ts";
import { MissingError } from "../../bytes/errors.ts";
import type { Kernel } from "../kernel.ts";

/** Bytes from the start of `type` to the member; undefined when neither source tells. */
export function logOffset(kernel: Kernel, type: string, member: string): number | undefined {
  return kernel.structures.find(`struct ${type}`, member)?.offset ?? told(kernel, `OFFSET(${type}.${member})`);
}

/** sizeof(struct type); undefined when neither source tells. */
export function logSize(kernel: Kernel, type: string): number | undefined {
  const size = kernel.types.sizeOf(`struct ${type}`) ?? told(kernel, `SIZE(${type})`);
  return size !== undefined && size > 0 && size <= 4096 ? size : undefined;
}

function told(kernel: Kernel, key: string): number | undefined {
  const text = kernel.vmcoreinfo?.get(key);
  return text !== undefined && /^\d{1,5}$/.test(text) ? Number(text) : undefined;
}

/** Like logOffset. @throws MissingError */
export function needOffset(kernel: Kernel, type: string, member: string): number {
  const offset = logOffset(kernel, type, member);
  if (offset === undefined) throw new MissingError(`the layout of struct ${type}.${member}`, supply);
  return offset;
}

/** Like logSize. @throws MissingError */
export function needSize(kernel: Kernel, type: string): number {
  const size = logSize(kernel, type);
  if (size === undefined) throw new MissingError(`the size of struct ${type}`, supply);
  return size;
}

const supply = "give a vmlinux with debug information with --debug-info";

/** The address in a pointer variable. @throws MissingError, AddressError; MissingError for NULL */
export function pointerIn(kernel: Kernel, symbol: string): VirtualAddress {
  const at = kernel.memory.pointer(kernel.address(symbol));
  if (at === 0n) throw new MissingError(`the log's buffer (${symbol} is NULL)`);
  return virtualAddress(at);
}
