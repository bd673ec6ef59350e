// A cause is recognised whatever the build, the number of CPUs and where KASLR put it; other causes are other signatures.
import { expect, describe as group, it } from "vitest";
import { describe } from "./describe.ts";
import { diagnosisText, type Facts, readDiagnosis } from "./diagnosis.ts";
import { compare, plainName, signatureOf } from "./signature.ts";

const diagnosis = (findings: readonly Facts[], release = "6.1.0-56-amd64") =>
  readDiagnosis(
    JSON.stringify({
      schema: "palimpsest/diagnose/1",
      kernel: {
        release,
        version: `Linux version ${release} (debian-kernel@lists.debian.org) #1 SMP Debian 6.1.176-1 (2026-01-01)`,
        hypervisor: "Xen",
      },
      findings,
      notChecked: [],
      complete: true,
    }),
  );
const sign = (...findings: Facts[]) => signatureOf(diagnosis(findings))?.id;

const deadlock = (order: readonly number[], base: number, pid: number) => {
  const steps = [
    {
      task: `insmod (PID ${pid})`,
      address: `0x${base}`,
      waitsFor: "dl_second [dl]",
      lock: `0x${base}1`,
      type: "mutex",
      at: ["schedule+0x5a"],
    },
    {
      task: `kworker/${pid}:1 (PID ${pid + 1})`,
      address: `0x${base}2`,
      waitsFor: "dl_first [dl]",
      lock: `0x${base}3`,
      type: "mutex",
      at: ["schedule+0x5e"],
    },
  ];
  return {
    id: "hang.deadlock",
    severity: "error",
    title: "a deadlock",
    object: "vmlinux",
    symbol: `schedule+0x${pid}`,
    cycle: order.map((at) => steps[at]),
  };
};
const mixed = (cpus: number, sites: number) => ({
  id: "lock.mixed",
  severity: "error",
  title: "spinlocks are taken as ticket locks and released as Xen byte locks",
  address: "0xffffffffa0020e16",
  object: "floppy",
  symbol: "redo_fd_request+0x17c",
  takers: [{ implementation: "ticket", family: "ticket", function: "__ticket_spin_lock", sites, places: [] }],
  releasers: [
    { implementation: "Xen byte lock", family: "byte", function: "xen_spin_unlock", sites, places: [] },
    { implementation: "ticket", family: "ticket", function: "__ticket_spin_unlock", sites, places: [] },
  ],
  locks: [
    {
      name: "floppy_lock [floppy]",
      address: "0xffffffffa0025ef8",
      bytes: "00 04 00 00",
      waiting: Array.from({ length: cpus }, (_, cpu) => ({ cpu })),
    },
  ],
});
const foreign = (symbol: string, found: string, object = "vmlinux") => ({
  id: "text.foreign",
  severity: "error",
  title: "bytes that nothing explains",
  address: "0xffffffff81234567",
  object,
  symbol,
  layers: { built: "55 48 89 e5 53", intended: "55 48 89 e5 53", found },
});

group("a signature", () => {
  it("is the same for one cause, wherever and on however many CPUs", () => {
    expect(sign(deadlock([0, 1], 1, 100))).toBe(sign(deadlock([1, 0], 7, 2345)));
    expect(sign(mixed(1, 20))).toBe(sign(mixed(4, 31)));
    expect(sign(foreign("vfs_read+0x10", "55 48 89 e4 53"))).toBe(
      sign(foreign("vfs_read.isra.0+0x44", "55 48 89 e7 53")),
    );
  });

  it("is another for another cause", () => {
    const all = [
      sign(deadlock([0, 1], 1, 1)),
      sign(mixed(1, 1)),
      sign(foreign("vfs_read+0x1", "55 48 89 e4 53")),
      sign(foreign("vfs_write+0x1", "55 48 89 e4 53")),
      sign(foreign("vfs_read+0x0", "e9 48 89 e5 53")),
      sign(foreign("vfs_read+0x1", "55 48 89 e4 53", "ext4")),
      sign({
        id: "hang.softlockup",
        severity: "error",
        title: "x",
        object: "vmlinux",
        symbol: "do_idle+0x4",
        type: "spinlock",
      }),
      sign({
        id: "site.stale",
        severity: "error",
        mechanism: "jump labels",
        form: "NOP",
        slot: { name: "sched_schedstats" },
        object: "vmlinux",
        symbol: "a+0x1",
      }),
    ];
    expect(all.every((each) => each !== undefined)).toBe(true);
    expect(new Set(all).size).toBe(all.length);
  });

  it("is none for a healthy dump, for notes and for what is only unknown", () => {
    expect(sign()).toBeUndefined();
    expect(sign({ ...foreign("a+0x1", "90"), severity: "note" })).toBeUndefined();
    expect(
      sign({ id: "unknown.table", severity: "warning", title: "a table", object: "vmlinux", symbol: "x" }),
    ).toBeUndefined();
  });

  it("is that of the cause, not of what follows from it", () => {
    expect(sign(mixed(1, 1))).toBe(
      sign(mixed(1, 1), foreign("later+0x1", "00"), {
        id: "lock.impossible",
        severity: "error",
        type: "ticket spinlock",
        locks: [],
      }),
    );
    expect(
      sign(deadlock([0, 1], 1, 1), {
        id: "hang.task",
        severity: "error",
        title: "a task hangs",
        object: "vmlinux",
        symbol: "x",
      }),
    ).toBe(sign(deadlock([0, 1], 1, 1)));
  });

  it("holds no address, offset or compiler's suffix", () => {
    expect(
      ["vfs_read.isra.0+0x44/0x90", "do_it.part.3.cold", "foo.constprop.0+0x1", "x@0xffffffff81000000"].map(plainName),
    ).toEqual(["vfs_read", "do_it", "foo", "x@?"]);
  });

  it("is compared with what speaks for and against", () => {
    const of = (...findings: Facts[]) => signatureOf(diagnosis(findings))!;
    const one = of(foreign("a+0x1", "e9 48 89 e5 53"), foreign("b+0x1", "e9 48 89 e5 53"));
    const two = of(foreign("a+0x5", "e9 48 89 e5 53"));
    const likeness = compare(one, two);
    expect(likeness.score).toBe(0.5);
    expect([likeness.reasonsFor, likeness.reasonsAgainst]).toEqual([
      ["both: text.foreign a a jump"],
      ["only here: text.foreign b a jump"],
    ]);
  });
});

group("a diagnosis as a report", () => {
  it("has the title, evidence, tags, package and version", () => {
    const report = describe(diagnosis([mixed(2, 20), foreign("vfs_read+0x1", "55 48 89 e4 53")]), ["[ 1.0] hung"]);
    expect(report.title).toBe(
      "spinlocks are taken as ticket locks and released as Xen byte locks (Linux 6.1.0-56-amd64)",
    );
    expect([report.target, report.packageVersion]).toEqual(["debian/+source/linux", "6.1.176-1"]);
    expect(report.tags).toEqual(["palimpsest", "lock.mixed", "text.foreign", "xen"]);
    for (const fact of [
      "floppy_lock [floppy]: 00 04 00 00",
      "taken by __ticket_spin_lock",
      "found     55 48 89 e4 53",
      "[ 1.0] hung",
      "Cause: lock.mixed-",
    ]) {
      expect(report.description).toContain(fact);
    }
  });

  it("refuses what is no diagnosis, and shows as it came what lacks facts", () => {
    for (const text of [
      "",
      "[]",
      "null",
      '"x"',
      '{"schema":"palimpsest/prove/1"}',
      '{"schema":"palimpsest/diagnose/1"}',
      '{"schema":"palimpsest/diagnose/1","kernel":[],"findings":{}}',
    ]) {
      expect(() => readDiagnosis(text)).toThrow(/^(is|has) /);
    }
    expect(diagnosisText('{"schema":"palimpsest/diagnose/1","kernel":{},"findings":[]}')).toBeUndefined();
    expect(
      describe(
        readDiagnosis(
          '{"schema":"palimpsest/diagnose/1","kernel":{},"findings":[null,5,{"id":7,"severity":"error","cycle":"x","layers":3}]}',
        ),
      ).title,
    ).toBe("a finding without a title");
  });
});
