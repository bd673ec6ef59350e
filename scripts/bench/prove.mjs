// What a proof costs: the ticket pair of the specimen, small and large (states a second), and pairs of the lab's dump with
// the kernel's own queued lock, native and paravirtual.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measure } from "./measure.mjs";

const PAIR = ["_raw_spin_lock_irq", "_raw_spin_unlock_irqrestore"];
const PARAVIRT = [
  "pv_ops.lock.queued_spin_lock_slowpath=__pv_queued_spin_lock_slowpath",
  "pv_ops.lock.queued_spin_unlock=__raw_callee_save___pv_queued_spin_unlock",
  "pv_ops.lock.wait=kvm_wait",
  "pv_ops.lock.kick=kvm_kick_cpu",
];

export async function run({ root, runs, dump, note }) {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-bench-prove-"));
  const env = { XDG_CACHE_HOME: join(folder, "cache") };
  const command = (file, ...more) => [process.execPath, join(root, "bin", "palimpsest.js"), "prove", file, ...more];
  const lab = (name, ...more) => {
    note(name);
    const image = ["--image", join(dump, "vmlinuz"), "--modules", join(dump, "modules")];
    const args = command(join(dump, "vmcore.elf"), "_raw_spin_lock", "_raw_spin_unlock", ...image, "--json", ...more);
    return measure(name, runs, args, { env, expect: /"verdict": "safe"/ });
  };
  try {
    const { makeBugSpecimen } = await import(join(root, "dist", "specimen.js"));
    const specimen = makeBugSpecimen({ format: "elf" });
    const file = join(folder, "vmcore");
    mkdirSync(join(folder, "modules"));
    writeFileSync(file, specimen.dump);
    writeFileSync(join(folder, "vmlinuz"), specimen.vmlinuz);
    const small = "prove, ticket pair, 3 CPUs x 2 rounds";
    note(small);
    const bounds = (cpus, rounds) => ["--cpus", `${cpus}`, "--rounds", `${rounds}`, "--json"];
    const rows = [
      {
        ...measure(small, runs, command(file, ...PAIR, ...bounds(3, 2)), { env, expect: /"verdict": "safe"/ }),
        limit: "10 s",
      },
      rate("prove, ticket pair, 4 CPUs x 5 rounds", runs, command(file, ...PAIR, ...bounds(4, 5)), env, note),
      lab("prove, 6.1 as patched, 3 CPUs x 1 round", ...bounds(3, 1)),
      lab("prove, 6.1 queue, 3 CPUs x 1 round", "--assume", "virt_spin_lock_key=off", ...bounds(3, 1)),
      lab("prove, 6.1 paravirt (KVM), 2 CPUs x 1 round", ...PARAVIRT.flatMap((a) => ["--assume", a]), ...bounds(2, 1)),
    ];
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** States a second of the whole process's CPU time, start-up and opening the dump included: other work cannot slow that. */
function rate(name, runs, command, env, note) {
  note(name);
  const row = measure(name, Math.min(runs, 3), command, { env, expect: /"verdict": "safe"/ });
  if (row.problem !== undefined) return row;
  const { stdout } = spawnSync(command[0], command.slice(1), {
    encoding: "utf8",
    env: { ...process.env, ...env },
    maxBuffer: 256 << 20,
  });
  const { states } = JSON.parse(stdout);
  const statesPerSecond = Math.round(states / row.cpuSeconds);
  const [count, speed] = [states, statesPerSecond].map((value) => value.toLocaleString("en-US"));
  return { ...row, states, statesPerSecond, limit: `at least 300,000 states/s: ${speed} over ${count} states` };
}
