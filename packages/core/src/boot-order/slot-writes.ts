// Who writes the slots that the boot patches into code. All text is searched for displacements that reach them; only
// the functions that have one are decoded.
import type { KernelOffset } from "../bytes/brand.ts";
import { getI32 } from "../x86/encode.ts";
import { constantCopy } from "./copies.ts";
import type { EventReader } from "./event-reader.ts";
import { type CodeEvent, EVENT } from "./events.ts";
import type { LinkImage, LinkSection } from "./link-image.ts";
import type { ValueTracker } from "./values.ts";

export interface SlotWrite {
  readonly slot: KernelOffset;
  /** index of the function that writes */
  readonly writer: number;
  /** the instruction */
  readonly at: KernelOffset;
  /** the function that is stored; undefined when it is not known, or is no function */
  readonly value: KernelOffset | undefined;
}

export interface SlotWrites {
  readonly writes: readonly SlotWrite[];
  /** Functions that take the address of slots and were not seen to write or to call through them. */
  readonly unclear: readonly number[];
}

interface Span {
  readonly start: KernelOffset;
  readonly end: KernelOffset;
}

/** Slots further apart than this are searched for on their own. */
const NEAR = 4096;

/** All writes of constant places: `pv_ops.x = f`, copies of a whole structure of slots, stores at a slot's address. */
export function slotWrites(events: EventReader, tracker: ValueTracker, slots: readonly KernelOffset[]): SlotWrites {
  const { image } = events;
  const known = new Set(slots);
  const spans = spansOf(slots);
  const inSpan = (at: KernelOffset) => spans.some((span) => at >= span.start && at < span.end);
  const writes: SlotWrite[] = [];
  const unclear: number[] = [];
  for (const index of functionsThatReach(image, spans)) {
    const before = writes.length;
    let taken = false;
    const add = (at: KernelOffset, slot: KernelOffset, value: KernelOffset | undefined): void => {
      if (!known.has(slot)) return;
      const isFunction = value !== undefined && image.functionFrom(value) >= 0;
      writes.push({ slot, writer: index, at, value: isFunction ? value : undefined });
    };
    for (const event of events.withBasedStores(index)) {
      const store = storeOf(event, tracker, image);
      if (store !== undefined && inSpan(store.address)) add(event.at, store.address, store.value);
      if (event.kind === EVENT.reference && inSpan(event.a)) taken = true;
      const copy = constantCopy(event, tracker, image);
      if (copy === undefined || !inSpan(copy.to)) continue;
      for (let offset = 0; offset < copy.length; offset += 8) {
        const value = copy.from < 0 ? -1 : image.pointer(copy.from + offset);
        add(event.at, copy.to + offset, value < 0 ? undefined : value);
      }
    }
    if (taken && writes.length === before) unclear.push(index);
  }
  return { writes, unclear };
}

/** The 8-byte store that an event is, with the value as far as it is known. */
export function storeOf(
  event: CodeEvent,
  tracker: ValueTracker,
  image: LinkImage,
): { address: KernelOffset; value: KernelOffset | undefined } | undefined {
  const known = (register: number): KernelOffset | undefined => {
    const value = tracker.before(event.at, register);
    if (value?.kind === "address") return value.offset;
    const initial = value?.kind === "slot" ? image.pointer(value.offset) : -1;
    return initial < 0 ? undefined : initial;
  };
  switch (event.kind) {
    case EVENT.storeConstant:
      return { address: event.a, value: event.b < 0 ? undefined : event.b };
    case EVENT.storeRegister:
      return { address: event.a, value: known(event.register) };
    case EVENT.storeBased: {
      const base = tracker.before(event.at, event.register);
      if (base?.kind !== "address") return undefined;
      const value = event.b >= 0 ? event.b : event.b === -1 ? undefined : known(-2 - event.b);
      return { address: base.offset + event.a, value };
    }
    default:
      return undefined;
  }
}

function spansOf(slots: readonly KernelOffset[]): Span[] {
  const out: { start: number; end: number }[] = [];
  for (const slot of [...slots].sort((a, b) => a - b)) {
    const last = out.at(-1);
    if (last !== undefined && slot - last.end < NEAR) last.end = slot + 8;
    else out.push({ start: slot, end: slot + 8 });
  }
  return out;
}

/** Functions that take the address, or use what lies there. */
export function functionsThatName(image: LinkImage, address: KernelOffset): Set<number> {
  return functionsThatReach(image, [{ start: address, end: address + 1 }]);
}

/** Functions with a RIP-relative or absolute displacement into a span, other than in calls and jumps through a slot. */
function functionsThatReach(image: LinkImage, spans: readonly Span[]): Set<number> {
  const found = new Set<number>();
  if (spans.length === 0) return found;
  const low = spans[0].start;
  const high = spans[spans.length - 1].end;
  for (const section of image.sections) {
    if (!section.isCode) continue;
    for (const at of reaching(section, low, high)) {
      const index = image.functionAt(section.start + at);
      if (index >= 0) found.add(index);
    }
  }
  return found;
}

function* reaching({ bytes, start }: LinkSection, low: KernelOffset, high: KernelOffset): Generator<number> {
  const last = bytes.length - 4;
  // The value of the displacement at `at`, kept by shifting one byte in at a time.
  let value = bytes.length < 4 ? 0 : getI32(bytes, 0) << 8;
  for (let at = 0; at <= last; at++) {
    value = (value >>> 8) | (bytes[at + 3] << 24);
    // Behind the displacement may stand an immediate of 1, 2 or 4 bytes, which RIP-relative addresses count from.
    const relative = start + at + 4 + value;
    const isRelative = relative >= low - 4 && relative < high;
    const isAbsolute = value < 0 && value + 2 ** 31 >= low && value + 2 ** 31 < high;
    if (!isRelative && !isAbsolute) continue;
    const modrm = bytes[at - 1];
    if (isRelative && bytes[at - 2] === 0xff && (modrm === 0x15 || modrm === 0x25)) continue;
    if (isAbsolute && bytes[at - 3] === 0xff && modrm === 0x25) continue;
    yield at;
  }
}
