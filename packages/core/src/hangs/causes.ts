// Findings out of the graph of waits and the machine's watchdogs: the cause first, what follows from it counted. What may be
// over in the next moment, and what only lasts long, is no finding.
import { formatAddress, type VirtualAddress } from "../bytes/brand.ts";
import type { LogEvent } from "../kernel/log/log-events.ts";
import type { LockState } from "../locks/lock-state.ts";
import type { DeadlockStep, HangCause, HangDeadlock, HangStep } from "../results/types.ts";
import { type Actor, actorName } from "./actors.ts";
import { crashes, logOnly } from "./crashes.ts";
import { lockText } from "./held-locks.ts";
import { type Edge, ended, saysFree, WaitGraph } from "./wait-graph.ts";

type Found = HangCause | HangDeadlock;

const ZERO = formatAddress(0n);

export class HangCauses {
  private readonly graph: WaitGraph;
  private readonly explained = new Set<string>();
  private readonly out: Found[] = [];

  constructor(
    private readonly state: LockState,
    private readonly events: readonly LogEvent[],
  ) {
    this.graph = new WaitGraph(state);
  }

  all(): Found[] {
    this.cyclesOf();
    this.ownersGone();
    this.lostWakeups();
    this.unanswered();
    this.lostUnlocks();
    this.lockups();
    this.graceStalls();
    this.hungTasks();
    const told = new Set(this.out.map(({ id }) => id));
    return [...this.out, ...crashes(this.events), ...logOnly(this.events, told)];
  }

  private step(actor: Actor, what: string, lock?: VirtualAddress): HangStep {
    return {
      who: actorName(actor),
      pid: actor.task.pid,
      cpu: actor.cpu ?? null,
      what,
      lock: lock === undefined ? null : formatAddress(lock),
      at: this.graph.actors.place(actor),
    };
  }

  private add(
    id: HangCause["id"],
    title: string,
    edges: readonly Edge[],
    more: {
      readonly lock?: VirtualAddress;
      readonly notes?: readonly string[];
      readonly root?: HangStep;
      readonly members?: readonly Actor[];
    },
  ): void {
    const members = new Set([...edges.map(({ from }) => from.key), ...(more.members ?? []).map(({ key }) => key)]);
    const behind = this.graph.behind(members);
    for (const key of [...members, ...behind]) this.explained.add(key);
    const lock = more.lock ?? edges[0]?.lock;
    const near =
      lock === undefined || lock < 0xffffffff80000000n ? undefined : this.state.kernel.allSymbols.nearest(lock);
    const first = edges[0]?.from ?? more.members?.[0];
    this.out.push({
      id,
      severity: "error",
      address: formatAddress(lock ?? first?.task.address ?? 0n),
      length: 8,
      object: near?.symbol.module ?? "vmlinux",
      symbol: lock === undefined ? "" : lockText(this.state.kernel, lock),
      title,
      notes: more.notes ?? [],
      chain: [
        ...edges.map((edge) => this.step(edge.from, edge.what, edge.lock)),
        ...(more.root === undefined ? [] : [more.root]),
      ],
      behind: behind.size,
      source: "dump",
    });
  }

  private cyclesOf(): void {
    for (const cycle of this.graph.cycles()) {
      const [first] = cycle;
      if (cycle.some(({ sleep }) => sleep?.kind === "work")) {
        const flusher = cycle.find(({ sleep }) => sleep?.kind === "work") ?? first;
        const rest = cycle.filter((edge) => edge !== flusher);
        const title = `${actorName(flusher.from)} flushes a work that waits for ${rest.map(({ lock }) => this.name(lock)).join(", ")}, which the flusher has`;
        this.add("hang.work-flush", title, [flusher, ...rest], { lock: rest[0]?.lock });
      } else if (cycle.every((edge) => edge.kind === "lock" && edge.owned)) {
        // locks/ tells deadlocks of sleeping locks with owners.
        for (const { from } of cycle) this.explained.add(from.key);
        for (const key of this.graph.behind(new Set(cycle.map(({ from }) => from.key)))) this.explained.add(key);
      } else if (cycle.length === 1) {
        const reader = first.what.includes("to read");
        const why = reader ? "it has it for reading already, and a writer waits in between" : "it has it already";
        this.add("hang.self-deadlock", `${actorName(first.from)} waits for ${this.name(first.lock)}: ${why}`, cycle, {
          notes: this.interrupted(first),
        });
      } else this.deadlock(cycle);
    }
  }

  private interrupted(edge: Edge): string[] {
    const levels = this.graph.actors.stack(edge.from).levels.length;
    return levels > 1
      ? ["An interrupt wants what the code that it interrupted has: it must be taken with interrupts off."]
      : [];
  }

  private name(lock: VirtualAddress | undefined): string {
    return lock === undefined ? "something" : lockText(this.state.kernel, lock);
  }

  private deadlock(cycle: readonly Edge[]): void {
    const members = new Set(cycle.map(({ from }) => from.key));
    const behind = this.graph.behind(members);
    for (const key of [...members, ...behind]) this.explained.add(key);
    const steps = cycle.map(
      (edge): DeadlockStep => ({
        task: actorName(edge.from),
        address: formatAddress(edge.from.task.address),
        waitsFor: this.name(edge.lock),
        lock: edge.lock === undefined ? ZERO : formatAddress(edge.lock),
        type: edge.word?.type ?? edge.kind,
        at: this.graph.actors.place(edge.from),
      }),
    );
    const { lock } = cycle[0];
    const near =
      lock === undefined || lock < 0xffffffff80000000n ? undefined : this.state.kernel.allSymbols.nearest(lock);
    this.out.push({
      id: "hang.deadlock",
      severity: "error",
      address: steps[0].lock,
      length: 8,
      object: near?.symbol.module ?? "vmlinux",
      symbol: this.name(lock),
      title: `${steps.length} wait for each other: ${steps.map((step) => step.task).join(", ")}`,
      notes: [
        ...steps.map(
          (step, i) =>
            `${step.task} waits for ${step.waitsFor} (${step.type}) in ${step.at.join(" ← ")}; ${steps[(i + 1) % steps.length].task} has it.`,
        ),
        ...(behind.size === 0 ? [] : [`${behind.size} more are blocked behind them.`]),
      ],
      cycle: steps,
    });
  }

  private ownersGone(): void {
    const seen = new Set<string>();
    for (const edge of this.graph.edges) {
      if (edge.gone === undefined || edge.lock === undefined || seen.has(formatAddress(edge.lock))) continue;
      seen.add(formatAddress(edge.lock));
      const who = edge.gone.name === "" ? `the task that was at ${edge.gone.address}` : edge.gone.name;
      const waiting = this.graph.edges.filter(({ lock }) => lock === edge.lock);
      this.add(
        "hang.dead-owner",
        `${this.name(edge.lock)} is held by ${who}, which has exited: nobody will release it`,
        [edge],
        {
          members: waiting.map(({ from }) => from),
          notes: this.events
            .filter(
              ({ kind, task }) =>
                (kind === "oops" || kind === "bug") &&
                task !== undefined &&
                edge.gone?.name === `${task.comm} (PID ${task.pid})`,
            )
            .map(({ text }) => `It died of "${text}".`),
        },
      );
    }
  }

  private lostWakeups(): void {
    const seen = new Set<string>();
    const wakes = this.graph.somebodyWakes;
    for (const edge of this.graph.edges) {
      if (
        wakes ||
        edge.moment ||
        edge.lock === undefined ||
        this.explained.has(edge.from.key) ||
        seen.has(formatAddress(edge.lock))
      )
        continue;
      const done = edge.sleep?.kind === "completion" && (edge.sleep.done ?? 0) > 0;
      const free =
        edge.kind === "lock" &&
        edge.to.length === 0 &&
        edge.gone === undefined &&
        edge.word !== undefined &&
        saysFree(edge.word);
      if (!done && !free) continue;
      seen.add(formatAddress(edge.lock));
      const waiting = this.graph.edges.filter(({ lock }) => lock === edge.lock);
      const title = done
        ? `${actorName(edge.from)} sleeps for ${this.name(edge.lock)}, which is complete: its wake-up was lost`
        : `${actorName(edge.from)} sleeps for ${this.name(edge.lock)}, which nobody has: its wake-up was lost`;
      this.add("hang.lost-wakeup", title, [edge], {
        members: waiting.map(({ from }) => from),
        notes: ["No CPU is in code that would wake it. Whoever uses the lock next may end it."],
      });
    }
  }

  private unanswered(): void {
    for (const edge of this.graph.edges) {
      if (edge.kind !== "ipi" || this.explained.has(edge.from.key)) continue;
      const silent = edge.to.filter(({ interruptsOff }) => interruptsOff === true);
      if (silent.length === 0) continue;
      const [target] = silent;
      const names = silent.map(({ cpu }) => `CPU ${cpu}`).join(", ");
      this.add(
        "hang.waiting-for-ipi",
        `${actorName(edge.from)} waits for ${names}, which has interrupts off and does not answer`,
        [edge],
        {
          root: this.step(target, "has interrupts off"),
          members: silent,
        },
      );
    }
  }

  /** CPUs that have not run their watchdog for too long, or whose clock stands still with interrupts off. */
  private lockups(): void {
    const { machine, actors } = this.graph;
    const limit = machine.watchdogSeconds;
    for (const cpu of machine.online) {
      const actor = actors.onCpu(cpu);
      if (actor === undefined || this.explained.has(actor.key) || this.graph.isIdle(actor)) continue;
      const since = machine.sinceWatchdog(cpu);
      const behind = machine.clockBehind(cpu);
      const edge = this.graph.edgeOf(actor);
      const chain = edge === undefined ? undefined : this.graph.chain(edge);
      // Who spins is stuck because of the one that has the lock.
      if (chain?.root !== undefined && chain.root.key !== actor.key && chain.root.cpu !== undefined) continue;
      const edges = chain?.edges ?? [];
      const last = edges[edges.length - 1];
      const notes =
        last?.kind === "spin" && last.lock !== undefined && last.to.length === 0 ? this.holderNotes(last.lock) : [];
      const top = actors.place(actor, 1)[0] ?? "code that is not known";
      if (actor.interruptsOff === true && behind !== undefined && behind >= limit) {
        const title = `CPU ${cpu} has run with interrupts off for ${behind.toFixed(0)} s, in ${top}`;
        this.add("hang.hard-lockup", title, edges, {
          members: [actor],
          notes,
          root: edges.length > 0 ? undefined : this.step(actor, "runs with interrupts off"),
        });
      } else if (since !== undefined && since > 2 * limit && this.hasRunFor(actor, 2 * limit)) {
        const title = `CPU ${cpu} has not let other tasks run for ${since} s, in ${top}`;
        this.add("hang.soft-lockup", title, edges, {
          members: [actor],
          notes,
          root: edges.length > 0 ? undefined : this.step(actor, "does not give up the CPU"),
        });
      }
    }
  }

  private holderNotes(lock: VirtualAddress): string[] {
    const why = this.graph.holderUnknown(lock);
    return [why === undefined ? `Nobody has ${this.name(lock)}.` : `Who has ${this.name(lock)} is not known: ${why}.`];
  }

  /** A CPU that has changed its task since lets others run, whatever became of its watchdog. */
  private hasRunFor({ details }: Actor, seconds: number): boolean {
    return details.since !== undefined && details.since >= BigInt(seconds) * 1_000_000_000n;
  }

  /** A CPU spins for a lock that is taken, and no stack of any CPU or task stands where it has it. */
  private lostUnlocks(): void {
    const seen = new Set<string>();
    for (const edge of this.graph.edges) {
      if (edge.kind !== "spin" || edge.lock === undefined || this.explained.has(edge.from.key)) continue;
      if (edge.to.length > 0 || edge.moment || seen.has(formatAddress(edge.lock))) continue;
      seen.add(formatAddress(edge.lock));
      if (this.graph.holderUnknown(edge.lock) !== undefined) continue;
      const waiting = this.graph.edges.filter(({ lock }) => lock === edge.lock);
      this.add(
        "hang.lost-unlock",
        `${actorName(edge.from)} spins for ${this.name(edge.lock)}, which is taken, and nobody has it: it was not released`,
        [edge],
        {
          members: waiting.map(({ from }) => from),
          notes: ["Every other CPU is idle, in user mode or spins itself, and no stack stands where it may have it."],
        },
      );
    }
  }

  private graceStalls(): void {
    const grace = this.graph.machine.gracePeriod();
    const stalled = grace?.seconds !== undefined && grace.seconds >= this.graph.machine.stallSeconds;
    if (grace === undefined || !stalled || grace.cpus.length + grace.tasks.length === 0) return;
    const readers = [
      ...grace.cpus.flatMap((cpu) => this.graph.actors.onCpu(cpu) ?? []),
      ...grace.tasks.flatMap((task) => this.graph.actors.get(formatAddress(task)) ?? []),
    ].filter((actor) => !this.graph.isIdle(actor));
    const [first] = readers;
    if (first === undefined || readers.every(({ key }) => this.explained.has(key))) return;
    const waiting = this.graph.edges.filter(({ sleep }) => sleep?.kind === "rcu");
    const title = `an RCU grace period has waited ${grace.seconds?.toFixed(0)} s for ${actorName(first)}`;
    this.add("hang.rcu-stall", title, waiting.slice(0, 1), {
      members: readers,
      root: this.step(
        first,
        first.cpu === undefined ? "sleeps inside an RCU reader" : "has not passed through a quiescent state",
      ),
    });
  }

  /** Tasks that sleep uninterruptibly for longer than the kernel's own limit, by what they wait for in the end. */
  private hungTasks(): void {
    const limit = BigInt(this.graph.machine.hungTaskSeconds) * 1_000_000_000n;
    const old = this.graph.edges
      .filter(
        ({ from, kind }) => kind !== "spin" && kind !== "ipi" && !ended(from) && (from.details.since ?? 0n) >= limit,
      )
      .sort((a, b) => Number((b.from.details.since ?? 0n) - (a.from.details.since ?? 0n)));
    for (const edge of old) {
      if (this.explained.has(edge.from.key)) continue;
      const { edges, root } = this.graph.chain(edge);
      const last = edges[edges.length - 1];
      const seconds = Number((edge.from.details.since ?? 0n) / 1_000_000_000n);
      const cause = root ?? last.from;
      const title =
        edges.length === 1 && root === undefined
          ? `${actorName(edge.from)} has waited for ${seconds} s: it ${edge.what}`
          : `${actorName(edge.from)} has waited for ${seconds} s, in the end for ${actorName(cause)}`;
      this.add("hang.hung-task", title, edges, {
        root:
          root === undefined
            ? undefined
            : this.step(root, root.cpu === undefined ? "has it and sleeps" : "has it and runs"),
        members: [cause],
      });
    }
  }
}
