// Which words of an image's data a walk has searched already: a bit each, made when the first of a section comes.
import type { KernelOffset } from "../bytes/brand.ts";
import type { LinkImage, LinkSection } from "./link-image.ts";

export class WordSet {
  private readonly bits = new Map<LinkSection, Uint8Array>();

  constructor(private readonly image: LinkImage) {}

  /** @returns false when it is there already, or is no word of any data */
  add(word: KernelOffset): boolean {
    const section = this.image.section(word);
    if (section === undefined) return false;
    let bits = this.bits.get(section);
    if (bits === undefined) {
      bits = new Uint8Array((section.bytes.length >> 6) + 1);
      this.bits.set(section, bits);
    }
    const index = (word - section.start) >> 3;
    if (index >> 3 >= bits.length || (bits[index >> 3] & (1 << (index & 7))) !== 0) return false;
    bits[index >> 3] |= 1 << (index & 7);
    return true;
  }

  has(word: KernelOffset): boolean {
    const section = this.image.section(word);
    const bits = section && this.bits.get(section);
    if (section === undefined || bits === undefined) return false;
    const index = (word - section.start) >> 3;
    return index >> 3 < bits.length && (bits[index >> 3] & (1 << (index & 7))) !== 0;
  }
}
