// What the commands return: plain data that is printed as JSON as it is, and from which the text is made. The schema
// names are part of the command line's contract (docs/architecture.md).
import type { GeneratedAccount, GeneratedFact } from "./generated-results.ts";
import type { LivepatchFact } from "./livepatch-results.ts";
import type { PairProof } from "./pair-proof.ts";
import type { ParavirtFacts } from "./paravirt-results.ts";
import type { Triage } from "./triage.ts";
import type { Finding } from "./types.ts";

export interface VerdictCounts {
  readonly built: number;
  readonly patched: number;
  readonly equivalent: number;
  readonly inFlight: number;
  readonly stale: number;
  readonly foreign: number;
  readonly absent: number;
}

export interface MechanismCounts {
  /** entries of the site tables */
  readonly sites: number;
  /** bytes that differ from what was built, as this mechanism's state calls for */
  readonly bytes: number;
  /** sites that hold another legal form */
  readonly stale: number;
}

export interface DumpFacts {
  readonly path: string;
  readonly format: string;
  /** bytes of the file */
  readonly size: number;
}

export interface KernelFacts {
  readonly release: string;
  readonly buildId: string | null;
  /** linux_banner */
  readonly version: string;
  /** "0x…": what KASLR moved the kernel by; null when unknown */
  readonly kaslrOffset: string | null;
  readonly cpus: number | null;
  readonly hypervisor: string | null;
  readonly cpuModel: string;
}

export interface ObjectFacts {
  /** "vmlinux" or the module's name */
  readonly name: string;
  readonly checked: boolean;
  /** bytes of executable sections accounted for */
  readonly bytes: number;
  /** the image file */
  readonly image: string | null;
  readonly verdicts?: VerdictCounts;
  readonly mechanisms?: Readonly<Record<string, MechanismCounts>>;
  /** executable sections given back after boot or loading */
  readonly freed?: readonly { readonly section: string; readonly bytes: number }[];
}

export interface Account {
  readonly bytes: number;
  readonly verdicts: VerdictCounts;
  readonly mechanisms: Readonly<Record<string, MechanismCounts>>;
  /** bytes of executable sections that were freed and are left out */
  readonly freed: number;
}

/** What any command prints with --json when it could not do its work; the exit status is then 2. */
export interface ErrorResult {
  readonly schema: "palimpsest/error/1";
  readonly error: {
    /**
     * format, truncated, unsupported: what is wrong with a file; address: what the dump cannot answer; missing: what is not
     * there; mismatch: an image of another build; usage: the command line; system: the operating system; internal: a bug
     */
    readonly kind:
      | "format"
      | "truncated"
      | "unsupported"
      | "address"
      | "missing"
      | "mismatch"
      | "usage"
      | "system"
      | "internal";
    readonly message: string;
    /** "FILE: PART+0xOFFSET", or the address; null when it is about no place */
    readonly where: string | null;
    /** what to try next */
    readonly advice: string | null;
  };
  /** what else is known to be wrong with the input ("vmcore: the file ends at 0x…") */
  readonly notes: readonly string[];
}

/** Result of `audit`; `diagnose` adds to it. */
export interface AuditResult {
  readonly schema: "palimpsest/audit/1" | "palimpsest/diagnose/1";
  readonly tool: string;
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly objects: readonly ObjectFacts[];
  readonly account: Account;
  /** Code that the kernel made while it ran, which is in no image and not in `account`. */
  readonly generated: GeneratedAccount;
  /**
   * False when not all kernel code could be compared: an object is in `notChecked` (but for a module that was just being
   * created), bytes are absent, or the dump file is cut off. Without findings the exit status is then 2, not 0.
   */
  readonly complete: boolean;
  readonly findings: readonly Finding[];
  /** findings that were counted but not listed, since there were too many */
  readonly findingsLeftOut: number;
  readonly notChecked: readonly { readonly object: string; readonly reason: string }[];
  /** what could not be read, and facts about the input */
  readonly notes: readonly string[];
}

export interface DiagnoseResult extends AuditResult {
  readonly schema: "palimpsest/diagnose/1";
  /** The machine when the dump was taken, as `sys` tells it. */
  readonly triage: Triage;
  /** The lock and unlock code that the dump's sites pair up, run in every order. */
  readonly proofs: readonly PairProof[];
}

export interface DisassembledLine {
  readonly address: string;
  /** where a near call or jump leads, or what a RIP-relative operand names */
  readonly target?: { readonly address: string; readonly symbol: string };
  readonly bytes: string;
  readonly text: string;
  /** "ffffffffa0020e0c + ffffffffe15dc374 => ffffffff815fd180 (T) _raw_spin_lock_irq" for near calls and jumps */
  readonly sum?: string;
  /** the mechanism whose site the instruction lies in */
  readonly mechanism?: string;
}

export interface SiteFacts {
  readonly mechanism: string;
  readonly address: string;
  readonly length: number;
  readonly verdict: string;
  readonly reason: string;
  readonly slot?: { readonly name: string; readonly value: string; readonly address?: string };
  readonly forms: readonly { readonly name: string; readonly bytes: string }[];
}

/** The place in the object file, before relocation. */
export interface SiteFileFacts {
  readonly path: string;
  /** ".text" */
  readonly section: string;
  /** Offsets count from the section's start. */
  readonly lines: readonly { readonly offset: string; readonly bytes: string; readonly text: string }[];
  readonly relocations: readonly { readonly offset: string; readonly type: string; readonly symbol: string }[];
}

/** Result of `site`. */
export interface SiteResult {
  readonly schema: "palimpsest/site/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly object: string;
  readonly section: string;
  readonly symbol: string;
  readonly address: string;
  /** bytes of the dump around the place, 16 a row */
  readonly rows: readonly { readonly address: string; readonly bytes: string; readonly ascii: string }[];
  readonly layers: readonly {
    readonly layer: "built" | "intended" | "found";
    readonly bytes: string;
    readonly lines: readonly DisassembledLine[];
  }[];
  /** modules only */
  readonly file?: SiteFileFacts;
  /** relocations that the build recorded inside the shown range; modules only */
  readonly relocations: readonly { readonly address: string; readonly type: string; readonly symbol: string }[];
  readonly sites: readonly SiteFacts[];
  readonly verdict: string;
  readonly findings: readonly Finding[];
  readonly notChecked: readonly { readonly object: string; readonly reason: string }[];
}

/** Result of `dis`. */
export interface DisassembleResult {
  readonly schema: "palimpsest/dis/1";
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly address: string;
  readonly end: string;
  readonly symbol: string;
  /** bytes from the beginning of that symbol to `address`; null when the place has no symbol */
  readonly offset: number | null;
  /** false when no image was found: then `mechanism` is known only where the dump itself tells it */
  readonly marked: boolean;
  readonly lines: readonly DisassembledLine[];
}

/** Result of `info`. */
export interface InfoResult {
  readonly schema: "palimpsest/info/1";
  readonly tool: string;
  readonly dump: DumpFacts;
  readonly kernel: KernelFacts;
  readonly commandLine: string | null;
  /** how the page tables were found */
  readonly addressSpace: string;
  readonly pageTableLevels: number;
  readonly symbols: number;
  /** where layouts come from */
  readonly types: string;
  /** evidence for what was discovered rather than told */
  readonly evidence: readonly string[];
  readonly onlineCpus: readonly number[];
  readonly registers: readonly {
    readonly cpu: number;
    readonly source: string;
    readonly rip: string;
    readonly symbol: string;
    readonly rsp: string;
    readonly cr3: string | null;
  }[];
  readonly cpu: { readonly vendor: string; readonly model: string; readonly features: readonly string[] };
  readonly patching: readonly { readonly name: string; readonly value: string }[];
  readonly paravirtualisation: ParavirtFacts;
  readonly livepatches: readonly LivepatchFact[];
  /** Code that the kernel made while it ran, with its owners. */
  readonly generated: readonly GeneratedFact[];
  readonly modules: readonly {
    readonly name: string;
    readonly state: string;
    readonly address: string;
    readonly text: string;
    /** of its text */
    readonly bytes: number;
    /** of all its parts that memory still holds, as lsmod and crash's mod have it */
    readonly size: number;
    readonly buildId: string | null;
  }[];
  readonly image: string | null;
  readonly notes: readonly string[];
}

/** Result of `symbols`. */
export interface SymbolsResult {
  readonly schema: "palimpsest/symbols/1";
  readonly matches: readonly {
    readonly address: string;
    readonly type: string;
    readonly name: string;
    readonly module: string | null;
  }[];
  /** matches beyond the limit */
  readonly leftOut: number;
  /** patterns that match nothing, each with the names that are nearest to it */
  readonly unmatched: readonly { readonly pattern: string; readonly near: readonly string[] }[];
}
