// The intended layer under construction: a copy of the built text over which the mechanisms are replayed in the
// kernel's order, and a map that credits each byte to the mechanism that wrote it last.
import type { KernelOffset } from "../../bytes/brand.ts";
import { RangeIndex } from "../../bytes/range-index.ts";

/** Credit of bytes whose intended value follows from state that the dump does not hold. */
export const UNJUDGED = 255;

/** Sites of one mechanism that cannot be judged for one reason. */
export interface Unjudged {
  readonly mechanism: string;
  /** "static key": what the dump does not hold */
  readonly state: string;
  readonly sites: number;
  readonly first: KernelOffset;
}

export interface PatchRegion {
  /** section name */
  readonly name: string;
  readonly start: KernelOffset;
  readonly built: Uint8Array;
  readonly intended: Uint8Array;
  /** mechanism number of each byte, see MECHANISMS */
  readonly credit: Uint8Array;
  /** False for parts that memory no longer holds (replacement text in freed init memory): replayed, not audited. */
  readonly audited: boolean;
}

export function patchRegion(name: string, start: KernelOffset, built: Uint8Array, audited: boolean): PatchRegion {
  return { name, start, built, intended: built.slice(), credit: new Uint8Array(built.length), audited };
}

export class PatchSpace {
  readonly regions: readonly PatchRegion[];
  private last: PatchRegion | undefined;
  private readonly index: RangeIndex<PatchRegion>;
  private readonly forgotten = new Map<string, Unjudged>();

  constructor(regions: readonly PatchRegion[]) {
    this.regions = [...regions].sort((a, b) => a.start - b.start);
    this.index = new RangeIndex(
      this.regions.map((region) => ({ start: region.start, length: region.built.length, value: region })),
    );
  }

  /** The region that holds all of [offset, offset+length). */
  find(offset: KernelOffset, length = 1): PatchRegion | undefined {
    const { last } = this;
    if (last !== undefined && offset >= last.start && offset + length <= last.start + last.built.length) return last;
    const region = this.index.find(offset, length)?.value;
    if (region !== undefined) this.last = region;
    return region;
  }

  /** A view of the intended bytes; undefined outside. */
  read(offset: KernelOffset, length: number): Uint8Array | undefined {
    const region = this.find(offset, length);
    return region?.intended.subarray(offset - region.start, offset - region.start + length);
  }

  /** A view of the built bytes; undefined outside. */
  readBuilt(offset: KernelOffset, length: number): Uint8Array | undefined {
    const region = this.find(offset, length);
    return region?.built.subarray(offset - region.start, offset - region.start + length);
  }

  /** Writes and credits. False when the place is outside (init text, data): nothing is written then. */
  write(offset: KernelOffset, bytes: Uint8Array, mechanism: number): boolean {
    const region = this.find(offset, bytes.length);
    if (region === undefined) return false;
    const at = offset - region.start;
    region.intended.set(bytes, at);
    region.credit.fill(mechanism, at, at + bytes.length);
    return true;
  }

  /** Leaves a site's bytes unjudged: what tells the intended ones is not in the dump. */
  forget(offset: KernelOffset, length: number, mechanism: string, state: string): void {
    const region = this.find(offset, length);
    if (region === undefined) return;
    region.credit.fill(UNJUDGED, offset - region.start, offset - region.start + length);
    const key = `${mechanism}\0${state}`;
    const before = this.forgotten.get(key) ?? { mechanism, state, sites: 0, first: offset };
    this.forgotten.set(key, { ...before, sites: before.sites + 1 });
  }

  /** Leaves a site's bytes unjudged, as `forget` does, where a finding of its own tells why. */
  leaveOut(offset: KernelOffset, length: number): void {
    const region = this.find(offset, length);
    region?.credit.fill(UNJUDGED, offset - region.start, offset - region.start + length);
  }

  get unjudged(): readonly Unjudged[] {
    return [...this.forgotten.values()];
  }
}
