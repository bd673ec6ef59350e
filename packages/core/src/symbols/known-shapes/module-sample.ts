// One module of a dump as a witness for the layout of struct module.
export interface ModuleSample {
  /** of the struct module */
  readonly address: bigint;
  readonly name: string;
  /** The structure's memory, as far as it is there. */
  readonly view: DataView;
  /** The blocks that its sections lie in; empty until they are known. */
  blocks: readonly Block[];
}

export interface Block {
  readonly base: bigint;
  readonly size: number;
}

/** True when the address lies in one of the module's blocks. */
export function isInside(m: ModuleSample, address: bigint): boolean {
  return m.blocks.some(({ base, size }) => address >= base && address < base + BigInt(size));
}

/** True for four of five witnesses: one module that was being freed, or damaged, must not hide the layout. */
export function most(samples: readonly ModuleSample[], fits: (sample: ModuleSample) => boolean): boolean {
  let count = 0;
  for (const sample of samples) if (fits(sample)) count++;
  return count > 0 && count * 5 >= samples.length * 4;
}
