// How symbols/ sees kernel memory: bytes at virtual addresses. Kernel memory in a dump and the sections of an
// unpacked image both fit, so that one reader of kallsyms or BTF serves both.
import { addressAdd, formatAddress, type VirtualAddress } from "../bytes/brand.ts";
import { AddressError } from "../bytes/errors.ts";

export interface AddressReader {
  /**
   * `length` bytes at `address`. The result is only lent: do not write to it.
   * @throws AddressError when any of them is not there
   */
  read(address: VirtualAddress, length: number): Uint8Array;
}

/** An AddressReader over one run of bytes that starts at `base`: a section of an image, a test's buffer. */
export function bytesReader(bytes: Uint8Array, base: VirtualAddress): AddressReader {
  return {
    read(address, length) {
      const offset = address - base;
      if (address < base || offset + BigInt(length) > BigInt(bytes.length)) {
        const end = formatAddress(addressAdd(base, bytes.length));
        throw new AddressError(address, "page", `${length} bytes are not all in ${formatAddress(base)}..${end}`);
      }
      return bytes.subarray(Number(offset), Number(offset) + length);
    },
  };
}
