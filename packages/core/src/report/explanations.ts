// What each finding means, how it is decided and what to do about it: `palimpsest explain ID` and docs/findings.md are made from
// this. A finding without an entry here does not compile.
import type { FindingId } from "../results/types.ts";
import { HANG_EXPLANATIONS } from "./hang-explanations.ts";

export interface Explanation {
  /** one line */
  readonly title: string;
  readonly means: string;
  readonly decided: string;
  readonly next: string;
}

/** What `boot-order` finds in an image, without any dump. */
type BootFindingId = "boot.late-slot-write";

export const EXPLANATIONS: Readonly<Record<FindingId | BootFindingId, Explanation>> = {
  "text.foreign": {
    title: "bytes of kernel code that nothing explains",
    means:
      "The bytes are neither as they were built nor what any mechanism of this kernel writes there. Broken memory, a stray write, a rootkit or an unknown patcher leaves such bytes. A single flipped bit looks like memory, a jump to outside the kernel like an inline hook.",
    decided:
      "The built bytes are taken from the image and relocated for this boot; every mechanism is replayed over them from the kernel's own state. Bytes of the dump that differ, that are no other legal form of the site around them and that no poke in flight names are foreign. Address and length are exactly these bytes.",
    next: "palimpsest site DUMP ADDRESS shows the three layers side by side. Compare with a second dump of the machine; a bit that moves is memory, one that stays is a writer. Look whether `dis` shows a jump to code that no module owns.",
  },
  "site.stale": {
    title: "a site holds a legal form, but not the one that its slot calls for now",
    means:
      "The kernel wrote this form itself at some time: the slot (a static key, a static call, a member of pv_ops, a CPU feature) has changed since, and the site was not patched again; or the site was changed and the slot was not.",
    decided:
      "Each site has a list of legal forms: what its mechanism writes for each state of the slot. The dump holds one of them exactly, and another one follows from the slot's value in the dump.",
    next: "The finding names the slot and its value. If many sites of one slot are stale, look at who writes the slot: palimpsest boot-order IMAGE. If one is, suspect a race of two changes, or somebody who copied a legal form over it.",
  },
  "unknown.table": {
    title: "a table of patch sites that Palimpsest does not know",
    means:
      "This kernel has a table, or entries with flags, that no mechanism known here reads. What the kernel writes at its sites cannot be predicted. Nothing is said to be wrong with them.",
    decided:
      "A table does not divide into entries of a known layout, or a section that lists places is no known table while these places differ from what was built.",
    next: "The sites are left out of the account, so that it is not complete. Report the kernel's release and configuration.",
  },
  "unknown.mechanism": {
    title: "a mechanism that patches code and that Palimpsest does not know",
    means:
      "This kernel rewrites places of its code by something that no mechanism known here explains, or by a mode of a mechanism that is not known. Nothing is said to be wrong with them.",
    decided:
      "A section of the image lists places that hold other bytes than were built, or the kernel's own switch for a mechanism holds a value that no known release has.",
    next: "These places are left out of the account, so that it is not complete. Report the kernel's release, compiler and configuration.",
  },
  "unknown.rule": {
    title: "a rule of patching that Palimpsest does not know",
    means:
      "A large part of a mechanism's sites deviates in one way while nothing beside them does: this kernel follows another rule than the one that is replayed. Tampering does not look like that.",
    decided: "At least a fifth of the mechanism's sites deviate, and the bytes around them do not.",
    next: "These sites are left out of the account. Report the kernel's release, compiler and configuration.",
  },
  "unknown.smear": {
    title: "a dump of a running machine, whose sites were being switched",
    means:
      "The file was written by a process of the machine that it shows (makedumpfile of /proc/kcore), page after page, while the kernel switched sites of this mechanism. A part of them is of before and a part of after, or the state is of another moment than the code. Whether somebody else wrote some of them cannot be told from such a dump.",
    decided:
      "The file has no registers of any CPU, no CPU has saved any in the kernel's crash notes, and the kernel has not panicked: a hypervisor or a crash kernel would have left some. The sites hold legal forms of their mechanism (or the INT3 of a change under way), and the mechanism is one that kernels switch while they run: ftrace, jump labels, static calls, kprobes, BPF.",
    next: "These sites are left out of the account, so that it is not complete. Take the dump while nothing is traced, or of a machine that stands still: a crash kernel's, or the hypervisor's.",
  },
  "unknown.state": {
    title: "the state that a mechanism follows is kept in a way that is not known",
    means:
      "The kernel's variables or structures for it could not be read, so that what its sites should hold is not known.",
    decided:
      "A symbol or a member that every known kernel with this mechanism has is not there, or holds what cannot be.",
    next: "Give debug information with --debug-info when the kernel has no BTF.",
  },
  "lock.mixed": {
    title: "one lock type is taken by one implementation and released by another",
    means:
      "The two do not keep the lock's word in the same way: a ticket lock released as a byte lock never serves the next ticket. Bug 838026 was this: the core took floppy_lock as a ticket lock, a module released it as Xen's.",
    decided:
      "Every place that goes through a lock slot is looked at for the function that it really calls in the dump. Takers of one implementation and releasers of another, for locks of one type, are the finding; locks that the odd sites work on are followed from the code.",
    next: "palimpsest prove DUMP LOCK UNLOCK runs the two in every order; --assume SLOT=FUNCTION tries a repair. palimpsest boot-order IMAGE names the step that changed the slots too late.",
  },
  "slot.late-write": {
    title: "a slot was changed after the sites that call through it had been patched",
    means:
      "Sites patched earlier still call the old function, objects loaded later the new one. For locks that is fatal, for others it means two behaviours in one kernel.",
    decided: "The slot's value in the dump is not what most sites patched from it hold; modules loaded later hold it.",
    next: "palimpsest boot-order IMAGE shows the calls that lead to the write and to the patching. Move the write before the patching, or patch again after it.",
  },
  "hang.lock-pair": {
    title: "lock and unlock code that this kernel pairs up goes wrong in some order",
    means:
      "Run on two model CPUs with store buffers (x86-TSO), the pair ends in a hang, in two holders or in a word that is not free. The witness is the shortest schedule that does.",
    decided:
      "All states that the real machine code of the dump can reach are explored within the bounds that the finding names. The witness is run again before it is told.",
    next: "palimpsest prove DUMP LOCK UNLOCK --json > FILE keeps it, prove --replay FILE runs it again; --assume tries a repair on the dump itself.",
  },
  "lock.impossible": {
    title: "a lock's word holds what no history of its operations leaves",
    means: "Somebody wrote over the lock, or it is used as two kinds of lock, or it is no lock of that type.",
    decided:
      "The type is proved by the code that takes the lock, by its variable's type or by those who wait for it; the word, the waiters that registers and lists prove, and the implementation's own rules contradict each other.",
    next: "palimpsest locks DUMP WHERE shows the word's fields and who waits. Look at what lies around it: palimpsest read DUMP WHERE.",
  },
  "hang.deadlock": {
    title: "each waits for a lock that the next one has, in a circle",
    means: "None of them will go on without help from outside.",
    decided:
      "Waiter lists, registers and stacks prove who waits for what, owner words who has it. A circle of such proofs is the finding.",
    next: "Read the stacks from outermost to innermost: the two orders in which the locks are taken show where to change one.",
  },
  ...HANG_EXPLANATIONS,
  "boot.late-slot-write": {
    title: "this image writes a slot after the code that uses it was patched",
    means: "Seen in the image alone: a boot of this kernel may end in `slot.late-write`, without any dump.",
    decided:
      "The calls of the boot are followed from its entry; the moment when a table is applied and the stores to the slots are ordered by the way that leads to each. Ways that go through pointers are told as possible.",
    next: "Follow the two ways that the finding shows. A note instead of an error says that the same value was there before.",
  },
};

/** Words that reports use. */
export const WORDS: Readonly<Record<string, string>> = {
  site: "an address range that the kernel itself rewrites, and the mechanism that does it",
  slot: "the state from which a site's bytes follow: a member of pv_ops, a static key, a static call's key, a CPU feature, an ftrace record",
  form: "what a site can hold; a legal form is one that its mechanism writes for some value of the slot",
  layer:
    "built: the bytes of the image, relocated; intended: what the kernel's state calls for; found: what is in the dump",
  pair: "code that takes a lock and code that releases the same lock",
  implementation: "one way to take and release a lock: ticket, Xen byte lock, queued, paravirt queued",
  witness: "the shortest schedule of real instructions that ends in a hang or in two holders",
};
