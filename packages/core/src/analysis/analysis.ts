// The library's door: one dump, and everything that can be asked of it. Each question is one method here, one type in
// results/, one text in report/ and one file in the command line; what several answers need is made once (parts.ts).
import { bootOrder } from "../boot-order/result.ts";
import { MissingError } from "../bytes/errors.ts";
import type { ByteSource } from "../bytes/source.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { openKernel } from "../kernel/open.ts";
import { openDump } from "../memory/open.ts";
import type { BootOrderResult } from "../results/boot-order-results.ts";
import type { CpusResult } from "../results/cpus-results.ts";
import type { LocksResult } from "../results/lock-results.ts";
import type { LogResult } from "../results/log-results.ts";
import type { ProveResult } from "../results/prove-results.ts";
import type { ReadResult } from "../results/read-results.ts";
import type {
  AuditResult,
  DiagnoseResult,
  DisassembleResult,
  InfoResult,
  SiteResult,
  SymbolsResult,
} from "../results/results.ts";
import type { SysResult } from "../results/sys-results.ts";
import type { StackResult, TasksResult } from "../results/task-results.ts";
import type { TypesResult } from "../results/types-results.ts";
import { cpusOf } from "./cpus.ts";
import { auditOf, diagnosisOf } from "./diagnose.ts";
import { infoOf } from "./info.ts";
import { type LocksOptions, locksOf } from "./locks.ts";
import { type LogOptions, logOf } from "./log.ts";
import { type AnalysisOptions, Parts } from "./parts.ts";
import { type ProofOptions, proofOf } from "./prove.ts";
import type { ProveChoice } from "./prove-pairs.ts";
import { type ReadOptions, readOf } from "./read.ts";
import { disassemblyOf, siteOf } from "./site.ts";
import { symbolsOf } from "./symbols.ts";
import { sysOf } from "./sys.ts";
import { stacksOf, type TaskChoice, tasksOf } from "./task-stacks.ts";
import { typesOf } from "./types.ts";
import { TOOL } from "./version.ts";

/**
 * One dump. Every method gives the object that the command of its name prints with --json (schema/NAME.json).
 *
 * WHERE is an address ("0xffffffff81000000"), a symbol, "symbol+0x10" or "module:symbol".
 * All methods reject with a PalimpsestError (its `kind` tells which) for what the dump cannot answer, and with the reason of
 * `signal` when that was aborted.
 */
export class Analysis {
  private readonly parts: Parts;

  constructor(
    readonly kernel: Kernel,
    options: AnalysisOptions = {},
  ) {
    this.parts = new Parts(kernel, options);
  }

  /**
   * Opens a dump out of bytes. In Node, `openDump(path)` of palimpsest/node also finds its images.
   * @throws FormatError, TruncatedError, UnsupportedError for a file that is no dump; MissingError when no kernel is in it
   */
  static open(source: ByteSource, options: AnalysisOptions = {}): Analysis {
    return new Analysis(openKernel(openDump(source)), options);
  }

  /** All checks, one report. @param options.prove which pairs of lock and unlock are run in every order; default all */
  diagnose(options: { readonly prove?: ProveChoice } = {}): Promise<DiagnoseResult> {
    return diagnosisOf(this.parts, options.prove);
  }

  /** The account of every byte of code. */
  audit(): Promise<AuditResult> {
    return auditOf(this.parts);
  }

  /** Kernel, machine, hypervisor, CPUs, modules, formats. */
  async info(): Promise<InfoResult> {
    return infoOf(this.kernel);
  }

  /** The layers of one place. @throws MissingError when it lies in no audited code; AddressError when it is not in the dump */
  site(where: string): Promise<SiteResult> {
    return siteOf(this.parts, where);
  }

  /** What is in memory, patched parts marked. @param options.bytes default: to the end of the function, at most 4096 */
  disassemble(where: string, options: { readonly bytes?: number } = {}): Promise<DisassembleResult> {
    return disassemblyOf(this.parts, where, options.bytes);
  }

  /** Lock words, holders, waiters, implementations; with `where`, of one lock. */
  locks(options: LocksOptions = {}): Promise<LocksResult> {
    return locksOf(this.parts, options);
  }

  /** What each CPU was doing. */
  async cpus(): Promise<CpusResult> {
    return cpusOf(this.kernel);
  }

  /** The machine when the dump was taken, on one screen. */
  async sys(): Promise<SysResult> {
    return sysOf(this.kernel);
  }

  /** Every task, or those that a PID, a name with * and ?, or state letters mean. */
  async tasks(choice: TaskChoice = {}): Promise<TasksResult> {
    return tasksOf(this.kernel, choice);
  }

  /** Where tasks stand; those with the same frames are told once. @throws MissingError when no task is meant */
  async stack(choice: TaskChoice = {}): Promise<StackResult> {
    return stacksOf(this.kernel, choice);
  }

  /** The kernel's log. */
  async log(options: LogOptions = {}): Promise<LogResult> {
    return logOf(this.kernel, options);
  }

  /** Runs lock and unlock code in every order that x86 allows. */
  prove(lock: string, unlock: string, options: ProofOptions = {}): Promise<ProveResult> {
    return proofOf(this.parts, lock, unlock, options);
  }

  /** Slots of the dump's image that are written after the code that uses them was patched. @throws MissingError without an image */
  async bootOrder(): Promise<BootOrderResult> {
    const { core, coreProblem } = await this.parts.images();
    if (core === undefined) throw new MissingError("the kernel image", coreProblem);
    return bootOrder(core, TOOL);
  }

  /** Symbols by name, by pattern with * and ?, or by address. @param options.limit most matches; 0 for all, default 100 */
  async symbols(patterns: readonly string[] = [], options: { readonly limit?: number } = {}): Promise<SymbolsResult> {
    return symbolsOf(this.kernel, patterns, options.limit);
  }

  /** Layouts of C types. @param options.limit most names of a pattern; 0 for all, default 100 @throws MissingError */
  async types(names: readonly string[], options: { readonly limit?: number } = {}): Promise<TypesResult> {
    return typesOf(this.kernel, names, options.limit);
  }

  /** Memory at a place, as bytes or as a structure. @throws AddressError when not one byte is there */
  async read(where: string, options: ReadOptions = {}): Promise<ReadResult> {
    return readOf(this.kernel, where, options);
  }

  /** Gives back what the host holds. The analysis cannot be used afterwards. */
  close(): void {
    this.parts.options.onClose?.();
  }
}
