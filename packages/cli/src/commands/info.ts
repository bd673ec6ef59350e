// `info`: kernel, machine, hypervisor, CPUs, modules, formats.
import type { Command } from "commander";
import { generatedFact } from "../../../core/src/audit/generated.ts";
import { moduleBuildId } from "../../../core/src/audit/identity.ts";
import { livepatchFacts } from "../../../core/src/audit/livepatch-facts.ts";
import { dumpFacts, kernelFacts } from "../../../core/src/audit/result.ts";
import { formatAddress, type VirtualAddress, virtualAddress } from "../../../core/src/bytes/brand.ts";
import type { Kernel } from "../../../core/src/kernel/kernel.ts";
import { machineOf } from "../../../core/src/kernel/machine.ts";
import { describeAddress } from "../../../core/src/kernel/where.ts";
import { paravirtFacts } from "../../../core/src/locks/findings/paravirt-facts.ts";
import { infoText } from "../../../core/src/report/info-text.ts";
import type { InfoResult } from "../../../core/src/results/results.ts";
import { nearestName } from "../../../core/src/sites/base/context.ts";
import { readPatchState } from "../../../core/src/sites/base/patch-state.ts";
import { generatedCode } from "../../../core/src/sites/generated/generated-code.ts";
import type { GlobalOptions } from "../terminal.ts";
import { TOOL } from "../version.ts";
import { dumpCommand, printResult, withDump } from "./common.ts";

export function registerInfo(program: Command): void {
  dumpCommand(program, "info", "", "kernel, machine, hypervisor, CPUs, modules, formats").action(
    (dump: string, _options: unknown, command: Command) => info(dump, command),
  );
}

async function info(dump: string, command: Command): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  await withDump(dump, options, ({ kernel, paint }) => {
    printResult(options, infoOf(kernel), (result) => infoText(result, paint));
    return 0;
  });
}

export function infoOf(kernel: Kernel): InfoResult {
  const machine = machineOf(kernel);
  const problems: string[] = [];
  const state = readPatchState(kernel, problems);
  const name = (offset: number | undefined): string => (offset === undefined ? "none" : nearestName(kernel, offset));
  const { features } = kernel;
  return {
    schema: "palimpsest/info/1",
    tool: TOOL,
    dump: dumpFacts(kernel),
    kernel: kernelFacts(kernel),
    commandLine: machine.commandLine ?? null,
    addressSpace: kernel.addressSpace,
    pageTableLevels: kernel.memory.levels,
    symbols: kernel.symbols.count,
    types: kernel.types.origin,
    evidence: kernel.evidence ?? [],
    onlineCpus: machine.online,
    registers: kernel.dump.cpus.map((cpu) => ({
      cpu: cpu.index,
      source: cpu.source,
      rip: formatAddress(cpu.registers.rip),
      symbol: describeAddress(kernel, virtualAddress(cpu.registers.rip)),
      rsp: formatAddress(cpu.registers.rsp),
      cr3: cpu.registers.cr3 === undefined ? null : formatAddress(cpu.registers.cr3),
    })),
    cpu: {
      vendor: features.vendorId,
      model: `${features.modelId} (family ${features.family}, model ${features.model})`,
      features: Array.from(features.words, (word) => `0x${word.toString(16).padStart(8, "0")}`),
    },
    patching: [
      { name: "NOPs", value: state.nops.name },
      { name: "retpolines", value: state.retpoline ? (state.retpolineLfence ? "LFENCE" : "on") : "off" },
      { name: "return thunk", value: state.rethunk ? name(state.returnThunk) : "off: plain RET" },
      { name: "call depth tracking", value: state.callDepth ? "on" : "off" },
      { name: "ITS thunks", value: state.itsIndirect ? "on" : "off" },
      { name: "SMP lock prefixes", value: state.uniproc ? "removed (one CPU)" : "in place" },
    ],
    paravirtualisation: paravirtFacts(kernel),
    livepatches: livepatchFacts(kernel, problems),
    generated: generatedCode(kernel, problems, state).map(generatedFact),
    modules: kernel.modules.map((module) => ({
      name: module.name,
      state: module.state,
      address: formatAddress(module.address as VirtualAddress),
      text: formatAddress(module.text.base),
      bytes: module.text.size,
      buildId: moduleBuildId(kernel, module) ?? null,
    })),
    image: null,
    notes: [...kernel.problems, ...problems],
  };
}
