// What `info` tells about livepatches.

export interface LivepatchFunctionFact {
  /** "vmlinux" or the module that has the function */
  readonly object: string;
  readonly name: string;
  /** "0x…"; null while its object is not loaded */
  readonly address: string | null;
  /** "lp_cmdline_proc_show [livepatch_sample]" */
  readonly replacement: string;
  /**
   * replaced: calls run the replacement; overridden: those of a patch enabled later; transition: task by task, at the
   * moment of the dump; off: its object is not loaded, or the patch is disabled
   */
  readonly state: "replaced" | "overridden" | "transition" | "off";
}

export interface LivepatchFact {
  /** the module that brought it */
  readonly name: string;
  readonly enabled: boolean;
  readonly functions: readonly LivepatchFunctionFact[];
}
