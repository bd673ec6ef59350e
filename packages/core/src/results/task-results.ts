// The results of `tasks` and `stack`: what each task is, and where it stands.
import type { DumpFacts, KernelFacts } from "./results.ts";

export interface TaskFact {
  /** "0x…" of the struct task_struct */
  readonly address: string;
  readonly pid: number;
  readonly tgid: number;
  /** PID of the parent process; null when it is not known */
  readonly parent: number | null;
  readonly comm: string;
  /** as `ps` has it: R S D T t X Z P I; "?" when it is not known */
  readonly state: string;
  /** task_struct.exit_state: 0 while it lives */
  readonly exitState: number;
  readonly cpu: number | null;
  /** it is on that CPU now */
  readonly running: boolean;
  readonly kernelThread: boolean;
  /** seconds since it last came onto a CPU, "12.345"; null when the kernel does not count */
  readonly since: string | null;
  /** the function it sleeps in, without the scheduler's own; null for one that runs */
  readonly sleepsIn: string | null;
}

/** Result of `tasks`. */
export interface TasksResult {
  readonly schema: "palimpsest/tasks/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  /** by PID; those that were asked for */
  readonly tasks: readonly TaskFact[];
  /** tasks that were not asked for */
  readonly leftOut: number;
  /** False when a list of tasks could not be followed to its end. */
  readonly complete: boolean;
  readonly notes: readonly string[];
}

export interface UnwoundFrame {
  /** where it stands: the instruction pointer for the first, a return address for the others */
  readonly address: string;
  readonly symbol: string;
  /** where on the stack the return address lies; null for the first of a level */
  readonly at: string | null;
  /** how it was found: "register", "orc" (the kernel's own tables), "frame pointer", "scan" */
  readonly how: string;
  /** False for a frame that a scan found and no CALL proves. */
  readonly checked: boolean;
  /** TASK, IRQ, NMI, EXCEPTION, DOUBLE_FAULT; null when it is not known */
  readonly stack: string | null;
}

/** What was executed; each further level is what an interrupt or exception interrupted. */
export interface UnwoundLevelFact {
  readonly level: number;
  /** "0x…" by name; those that were saved */
  readonly registers: Readonly<Record<string, string>>;
  /** null for a task that was switched out */
  readonly interruptsOff: boolean | null;
  readonly frames: readonly UnwoundFrame[];
}

export interface StackFact {
  /** who stands so: several tasks with the same frames are one entry */
  readonly tasks: readonly TaskFact[];
  readonly levels: readonly UnwoundLevelFact[];
  /** "end": the stack's true end; "user": entered from user mode; "stopped": see why */
  readonly end: "end" | "user" | "stopped";
  readonly why: string | null;
}

/** Result of `stack`. */
export interface StackResult {
  readonly schema: "palimpsest/stack/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  /** how stacks of this kernel are unwound: "ORC (version 3)", "scan" */
  readonly method: string;
  readonly stacks: readonly StackFact[];
  readonly notes: readonly string[];
}
