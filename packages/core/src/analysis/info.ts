// `info`: kernel, machine, hypervisor, CPUs, modules, formats.
import { generatedFact } from "../audit/generated.ts";
import { moduleBuildId } from "../audit/identity.ts";
import { livepatchFacts } from "../audit/livepatch-facts.ts";
import { dumpFacts, kernelFacts } from "../audit/result.ts";
import { formatAddress, type VirtualAddress, virtualAddress } from "../bytes/brand.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { machineOf } from "../kernel/machine.ts";
import { describeAddress } from "../kernel/where.ts";
import { paravirtFacts } from "../locks/findings/paravirt-facts.ts";
import type { InfoResult } from "../results/results.ts";
import { nearestName } from "../sites/base/context.ts";
import { readPatchState } from "../sites/base/patch-state.ts";
import { generatedCode } from "../sites/generated/generated-code.ts";
import { TOOL } from "./version.ts";

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
      size: module.regions.reduce((sum, { kind, size }) => sum + (kind.startsWith("init") ? 0 : size), 0),
      buildId: moduleBuildId(kernel, module) ?? null,
    })),
    image: null,
    notes: [...kernel.problems, ...problems],
  };
}
