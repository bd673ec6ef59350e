// `prove`: run the real lock code in every order; verdict and witness.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { lockPrefixes } from "../../../core/src/analysis/lock-prefixes.ts";
import type { DumpAudit } from "../../../core/src/audit/audit.ts";
import { dumpFacts, kernelFacts } from "../../../core/src/audit/result.ts";
import { siteLengthAt } from "../../../core/src/audit/site-index.ts";
import { formatAddress, toKernelOffset, type VirtualAddress } from "../../../core/src/bytes/brand.ts";
import { resolvePlace } from "../../../core/src/kernel/where.ts";
import {
  type DumpProof,
  type DumpQuestion,
  type PairEnd,
  proveFromDump,
  refusal,
} from "../../../core/src/prove/dump/from-dump.ts";
import { DEFAULT_BOUNDS } from "../../../core/src/prove/search/explorer.ts";
import type { Preset } from "../../../core/src/prove/types.ts";
import { replayWitnessFile, WITNESS_SCHEMA, type WitnessFile } from "../../../core/src/prove/verdict/witness-file.ts";
import { proveText } from "../../../core/src/report/prove-text.ts";
import type { ProveResult } from "../../../core/src/results/prove-results.ts";
import { readPatchState } from "../../../core/src/sites/base/patch-state.ts";
import { UsageError } from "../../../node/src/refusals.ts";
import { assume as assumeSlots } from "../assume.ts";
import { fail } from "../failure.ts";
import { type GlobalOptions, note } from "../terminal.ts";
import { TOOL } from "../version.ts";
import { auditOf } from "./audit-run.ts";
import { type CommandContext, dumpCommand, FOUND, printResult, wholeNumber, withDump } from "./common.ts";

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
}

/** Below this nothing can be proved, however small the limit. */
const MIN_TABLES = 8 * 2 ** 20;

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
        if (options.replay !== undefined) return runReplay(options.replay, options);
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

/** Runs a saved witness again: status 0 when it ends as recorded, 2 when it does not. */
function runReplay(file: string, options: ProveOptions): void {
  const json = options.json ?? false;
  try {
    const saved = JSON.parse(readFileSync(file, "utf8")) as { schema?: unknown; replay?: unknown };
    const packed = saved.schema === WITNESS_SCHEMA ? saved : saved.replay;
    if (packed === undefined || packed === null)
      throw new UsageError(`${file} holds no witness`, "Save one with prove --json.");
    const result = replayWitnessFile(packed, file);
    const { witness } = packed as WitnessFile;
    printResult(
      options,
      {
        schema: "palimpsest/replay/1",
        ok: result.ok,
        verdict: witness.verdict,
        problem: result.problem ?? null,
        steps: result.steps.length,
      },
      (r) =>
        r.ok
          ? `replayed ${r.steps} steps: ends the same way, ${r.verdict}: ${witness.problem}\n`
          : `does not end the same way: ${r.problem}\n`,
    );
    process.exitCode = result.ok ? 0 : 2;
  } catch (error) {
    fail(error instanceof SyntaxError ? new UsageError(`${file}: not JSON: ${error.message}`) : error, json);
  }
}

function collect(value: string, list: string[]): string[] {
  return [...list, value];
}

/** The place, and the length of the site when it is one inside a function. */
function pairEnd(context: CommandContext, where: string, audit: DumpAudit | undefined): PairEnd {
  const { address, others } = resolvePlace(context.kernel, where);
  if (others.length > 0)
    note(`palimpsest: ${where} is ${formatAddress(address)}; ${others.length} more symbols have that name`);
  const offset = toKernelOffset(address);
  if (offset === undefined || audit === undefined) return { address };
  return { address, length: siteLengthAt(audit.objects, offset) };
}

async function run(dump: string, lockWhere: string, unlockWhere: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<ProveOptions>();
  await withDump(dump, options, async (context) => {
    const cpus = wholeNumber(options.cpus, 2);
    if (cpus < 1 || cpus > 4) throw new UsageError(`--cpus ${cpus}: the model has 1 to 4 CPUs`);
    const model = options.memory ?? "tso";
    if (model !== "tso" && model !== "sc") throw new UsageError(`--memory ${model}: tso or sc`);
    const inside = [lockWhere, unlockWhere].some((where) => /\+/.test(where) || /^(0x)?[0-9a-f]{9,}$/i.test(where));
    const assume = options.assume ?? [];
    const uniproc = cpus > 1 && readPatchState(context.kernel, []).uniproc;
    const audit = inside || uniproc ? await auditOf(context) : undefined;
    const assumed = assume.length > 0 ? await assumeSlots(context, assume) : undefined;
    const presets: Preset[] = [...(assumed?.presets ?? [])];
    const remarks: string[] = [...(assumed?.remarks ?? [])];
    if (uniproc && audit !== undefined) {
      // The kernel itself puts the LOCK prefixes back when a second CPU comes up.
      const locks = lockPrefixes(audit);
      presets.push(...locks);
      remarks.push(
        locks.length > 0
          ? `this machine came up with one CPU: ${locks.length} LOCK prefixes are put back, as the kernel does for a second one`
          : "this machine came up with one CPU and no image tells where LOCK prefixes were removed: the code runs without them",
      );
    }
    const bounds = {
      states: wholeNumber(options.states, DEFAULT_BOUNDS.states),
      seconds: wholeNumber(options.seconds, DEFAULT_BOUNDS.seconds),
      memoryBytes: wholeNumber(options.memoryLimit, DEFAULT_BOUNDS.memoryBytes >> 20) * 2 ** 20,
    };
    // The explorer bounds its tables; what the process holds already is no part of these.
    const held = process.memoryUsage().rss;
    const tables = Math.max(MIN_TABLES, bounds.memoryBytes - held);
    const rounds = Math.max(1, wholeNumber(options.rounds, 3));
    const lock = pairEnd(context, lockWhere, audit);
    const unlock = pairEnd(context, unlockWhere, audit);
    const question: DumpQuestion = { lock, unlock, cpus, rounds, model, presets, spuriousWakeups: options.spurious };
    const answer =
      refusal(context.kernel, question) ??
      proveFromDump(context.kernel, question, {
        bounds: { ...bounds, memoryBytes: tables },
        onProgress: ({ states, seconds }) =>
          context.progress.update(
            states / bounds.states,
            `${states} states, ${Math.round(states / Math.max(seconds, 0.001))}/s`,
          ),
      });
    context.progress.end();
    const result = resultOf(
      context,
      { ...answer, assumptions: [...remarks, ...answer.assumptions] },
      {
        lockWhere,
        unlockWhere,
        lock,
        unlock,
        cpus,
        rounds,
        model,
        assume,
        bounds,
      },
    );
    const limit = wholeNumber(options.limit, 60);
    printResult(options, result, (r) => proveText(r, limit, context.paint));
    if (result.verdict === "unsupported") note("palimpsest: --json has the whole reason; dis shows the code");
    return result.verdict === "safe"
      ? 0
      : result.verdict === "not-proven" || result.verdict === "unsupported"
        ? 2
        : FOUND;
  });
}

interface Asked {
  readonly lockWhere: string;
  readonly unlockWhere: string;
  readonly lock: { readonly address: VirtualAddress };
  readonly unlock: { readonly address: VirtualAddress };
  readonly cpus: number;
  readonly rounds: number;
  readonly model: "tso" | "sc";
  readonly assume: readonly string[];
  readonly bounds: { readonly states: number; readonly seconds: number; readonly memoryBytes: number };
}

/** "memoryBytes 1073741824": the bound as it was asked for. */
function boundHit({ bound }: DumpProof["proof"], asked: Asked): string | null {
  if (bound === undefined) return null;
  return `${bound.name} ${bound.name === "memoryBytes" ? asked.bounds.memoryBytes : bound.value}`;
}

function resultOf({ kernel }: CommandContext, answer: DumpProof, asked: Asked): ProveResult {
  const { proof } = answer;
  return {
    schema: "palimpsest/prove/1",
    tool: TOOL,
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    lock: {
      where: asked.lockWhere,
      address: formatAddress(asked.lock.address),
      symbol: answer.lock,
      implementation: answer.families[0],
    },
    unlock: {
      where: asked.unlockWhere,
      address: formatAddress(asked.unlock.address),
      symbol: answer.unlock,
      implementation: answer.families[1],
    },
    assume: asked.assume,
    verdict: proof.verdict,
    reason: proof.reason ?? null,
    bounds: {
      cpus: proof.cpus,
      rounds: asked.rounds,
      memory: asked.model,
      ...asked.bounds,
      hit: boundHit(proof, asked),
    },
    states: answer.states,
    transitions: proof.transitions,
    seconds: answer.seconds,
    memoryBytes: proof.memoryBytes,
    assumptions: answer.assumptions,
    witness: proof.witness ?? null,
    replay: answer.file ?? null,
  };
}
