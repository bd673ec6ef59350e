// `prove`: run the real lock code in every order; verdict and witness.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { UsageError } from "../../../core/src/analysis/refusals.ts";
import { DEFAULT_BOUNDS } from "../../../core/src/prove/search/explorer.ts";
import { readWitnessFile, WITNESS_SCHEMA } from "../../../core/src/prove/verdict/read-witness.ts";
import { replay } from "../../../core/src/prove/verdict/replay.ts";
import { proveText } from "../../../core/src/report/prove-text.ts";
import type { ReplayResult } from "../../../core/src/results/prove-results.ts";
import { fail } from "../failure.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import { dumpCommand, FOUND, printResult, wholeNumber, withDump } from "./common.ts";

interface ProveOptions extends GlobalOptions {
  readonly cpus?: string;
  readonly rounds?: string;
  readonly memory?: string;
  readonly states?: string;
  readonly seconds?: string;
  readonly memoryLimit?: string;
  readonly assume?: string[];
  readonly spurious?: boolean;
  readonly replay?: string;
  readonly full?: boolean;
}

/** What a replay may take: checking that a hang is one is a proof of its own. */
const REPLAY_SECONDS = 8;

export function registerProve(program: Command): void {
  dumpCommand(
    program,
    "prove",
    "[lock] [unlock]",
    "run the real lock code in every order: verdict and witness",
    "[dump]",
  )
    .option("--cpus <n>", "model CPUs, 1 to 4", "2")
    .option("--rounds <n>", "rounds of lock and unlock each", "3")
    .option("--memory <model>", "tso or sc", "tso")
    .option("--states <n>", "bound on distinct states", String(DEFAULT_BOUNDS.states))
    .option("--seconds <n>", "bound on time", String(DEFAULT_BOUNDS.seconds))
    .option(
      "--memory-limit <MiB>",
      "bound on the memory of the whole process",
      String(DEFAULT_BOUNDS.memoryBytes >> 20),
    )
    .option(
      "--assume <slot=function>",
      "re-patch the slot's sites first, as the kernel would (repeatable)",
      collect,
      [],
    )
    .option("--spurious", "sleeping CPUs may also wake without a kick")
    .option("--limit <n>", "steps of the witness to show (0: all)", "60")
    .option("--full", "every lap of every loop of the witness, not only the last")
    .option("--replay <file>", "run the witness of a saved --json result again, without a dump")
    .action(
      (
        dump: string | undefined,
        lock: string | undefined,
        unlock: string | undefined,
        _options: unknown,
        command: Command,
      ) => {
        const options = command.optsWithGlobals<ProveOptions>();
        if (options.replay !== undefined) {
          // Somebody else's file must not run as long as an own question may.
          const asked = command.getOptionValueSource("seconds") === "cli";
          const seconds = asked ? wholeNumber(options.seconds, REPLAY_SECONDS) : REPLAY_SECONDS;
          return runReplay(options.replay, options, seconds);
        }
        if (dump === undefined || lock === undefined || unlock === undefined) {
          return fail(
            new UsageError(
              "prove needs a dump, a lock and an unlock",
              "palimpsest prove DUMP _raw_spin_lock_irq _raw_spin_unlock_irqrestore",
            ),
            options.json ?? false,
          );
        }
        return run(dump, lock, unlock, command);
      },
    );
}

/** The witness itself, or the one inside of a saved result of `prove`. */
function packedIn(saved: unknown): unknown {
  if (typeof saved !== "object" || saved === null) return undefined;
  if ("schema" in saved && saved.schema === WITNESS_SCHEMA) return saved;
  return "replay" in saved ? saved.replay : undefined;
}

/** Runs a saved witness again: status 0 when it ends as recorded, 2 when it does not. */
function runReplay(file: string, options: ProveOptions, seconds: number): void {
  const json = options.json ?? false;
  try {
    const saved: unknown = JSON.parse(readFileSync(file, "utf8"));
    const packed = packedIn(saved);
    if (packed === undefined || packed === null)
      throw new UsageError(`${file} holds no witness`, "Save one with prove --json.");
    const { system, witness } = readWitnessFile(packed, file);
    const { ok, problem, steps } = replay(system, witness, { seconds });
    const { verdict } = witness;
    const result: ReplayResult = {
      schema: "palimpsest/replay/1",
      ok,
      verdict,
      problem: problem ?? null,
      steps: steps.length,
    };
    printResult(options, result, (r) =>
      r.ok
        ? `replayed ${r.steps} steps: ends the same way, ${r.verdict}: ${witness.problem}\n`
        : `does not end the same way: ${r.problem}\n`,
    );
    process.exitCode = ok ? 0 : 2;
  } catch (error) {
    fail(error instanceof SyntaxError ? new UsageError(`${file}: not JSON: ${error.message}`) : error, json);
  }
}

function collect(value: string, list: string[]): string[] {
  return [...list, value];
}

async function run(dump: string, lockWhere: string, unlockWhere: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<ProveOptions>();
  await withDump(dump, options, async ({ analysis, paint }) => {
    const result = await analysis.prove(lockWhere, unlockWhere, {
      cpus: wholeNumber(options.cpus, 2),
      rounds: wholeNumber(options.rounds, 3),
      memory: options.memory,
      assume: options.assume,
      spurious: options.spurious,
      bounds: {
        states: wholeNumber(options.states, DEFAULT_BOUNDS.states),
        seconds: wholeNumber(options.seconds, DEFAULT_BOUNDS.seconds),
        memoryBytes: wholeNumber(options.memoryLimit, DEFAULT_BOUNDS.memoryBytes >> 20) * 2 ** 20,
      },
    });
    const limit = wholeNumber(options.limit, 60);
    printResult(options, result, (r) => proveText(r, limit, paint, options.full));
    if (result.verdict === "unsupported") note("palimpsest: --json has the whole reason; dis shows the code");
    return result.verdict === "safe"
      ? 0
      : result.verdict === "not-proven" || result.verdict === "unsupported"
        ? 2
        : FOUND;
  });
}
