// Reads functions into events when a walk first comes to them, and keeps them: most of a kernel is never asked for.
import * as iced from "iced-x86";
import type { KernelOffset } from "../bytes/brand.ts";
import { type CodeEvent, EVENT, EventScanner } from "./events.ts";
import type { LinkImage, LinkSection } from "./link-image.ts";

const REGISTERS = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
/** Names before "thunk_": retpolines, and the variants that account for call depth (6.2 and newer). */
const THUNKS = ["__x86_indirect_", "__x86_indirect_call_", "__x86_indirect_jump_"];

/** Free it when done: it holds decoders over whole sections. */
export class EventReader {
  private readonly cache = new Map<number, readonly CodeEvent[]>();
  private readonly decoders = new Map<LinkSection, iced.Decoder>();
  private readonly decoded = new iced.Instruction();
  private readonly thunks = new Map<KernelOffset, number>();

  constructor(readonly image: LinkImage) {
    for (let register = 0; register < 16; register++) {
      const name = REGISTERS[register] ?? `r${register}`;
      for (const prefix of THUNKS) {
        const at = image.find(`${prefix}thunk_${name}`);
        if (at !== undefined) this.thunks.set(at, register);
      }
    }
  }

  free(): void {
    for (const decoder of this.decoders.values()) decoder.free();
    this.decoders.clear();
    this.decoded.free();
  }

  /** Functions read so far. */
  get count(): number {
    return this.cache.size;
  }

  /** All events of a function but its stores at base registers, in the order of its code. */
  of(index: number): readonly CodeEvent[] {
    let events = this.cache.get(index);
    if (events === undefined) {
      events = this.read(index, false);
      this.cache.set(index, events);
    }
    return events;
  }

  /** The same with the stores at base registers; not kept. */
  withBasedStores(index: number): readonly CodeEvent[] {
    return this.read(index, true);
  }

  /** The instructions from `start` up to `end`, within one section. `visit` must not ask this reader for others. */
  instructions(start: KernelOffset, end: KernelOffset, visit: (at: KernelOffset, length: number) => void): void {
    const section = this.image.section(start);
    if (section === undefined) return;
    const decoder = this.decoder(section);
    const { decoded } = this;
    const limit = Math.min(end, section.start + section.bytes.length);
    if (start >= limit) return;
    decoder.position = start - section.start;
    for (let at = start; at < limit; ) {
      // What does not decode has a length too: the bytes that were looked at.
      decoder.decodeOut(decoded);
      const { length } = decoded;
      if (length === 0) return;
      visit(at, length);
      at += length;
    }
  }

  private decoder(section: LinkSection): iced.Decoder {
    let decoder = this.decoders.get(section);
    if (decoder === undefined) {
      decoder = new iced.Decoder(64, section.bytes, iced.DecoderOptions.None);
      this.decoders.set(section, decoder);
    }
    return decoder;
  }

  private read(index: number, based: boolean): readonly CodeEvent[] {
    const { image } = this;
    const start = image.functions[index];
    const end = image.functionEnd(index);
    const section = image.section(start);
    if (section === undefined) return [];
    const scanner = new EventScanner(section.bytes, section.start, start, end, (to) => this.thunks.get(to), based);
    this.instructions(start, end, (at, length) => scanner.instruction(at, length));
    if (scanner.ending === "goes on" && image.functionFrom(end) >= 0) {
      scanner.events.push({ at: end - 1, kind: EVENT.fall, register: 0, a: end, b: 0 });
    }
    return scanner.events;
  }
}
