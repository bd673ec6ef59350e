import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { writeCpio } from "./cpio.ts";
import { initramfs, initScript, readGuestReport, statesNotTaken } from "./guest.ts";
import { guestStates, isStateName, type StateName } from "./states.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** Reads an archive back by the format's own rules: magic, thirteen hex fields, name, data, each on four bytes. */
function readCpio(bytes: Uint8Array): { path: string; mode: number; links: number; data: string }[] {
  const out = [];
  for (let at = 0; ; ) {
    expect(text(bytes.subarray(at, at + 6))).toBe("070701");
    const field = (index: number) => Number.parseInt(text(bytes.subarray(at + 6 + 8 * index, at + 14 + 8 * index)), 16);
    const nameEnd = at + 110 + field(11);
    expect(bytes[nameEnd - 1]).toBe(0);
    const path = text(bytes.subarray(at + 110, nameEnd - 1));
    const dataStart = (nameEnd + 3) & ~3;
    const data = text(bytes.subarray(dataStart, dataStart + field(6)));
    const next = (dataStart + field(6) + 3) & ~3;
    if (path === "TRAILER!!!") {
      expect(next).toBe(bytes.length);
      return out;
    }
    out.push({ path, mode: field(1), links: field(4), data });
    at = next;
  }
}

describe("writeCpio", () => {
  it.each([
    ["", 0],
    ["x", 1],
    ["four", 4],
    ["fives", 5],
  ])("writes a file of %j", (data, size) => {
    const archive = writeCpio([{ path: "a/b", mode: 0o100644, data: Buffer.from(data) }]);
    expect(readCpio(archive)).toEqual([{ path: "a/b", mode: 0o100644, links: 1, data }]);
    expect(archive.length % 4).toBe(0);
    expect(data).toHaveLength(size);
  });
  it("writes the empty archive as its trailer alone", () => {
    expect(text(writeCpio([])).replaceAll("\0", "")).toBe(
      `070701${"00000000".repeat(4)}00000001${"00000000".repeat(6)}0000000b00000000TRAILER!!!`,
    );
  });
  it("refuses paths that would leave the archive's root", () => {
    expect(() => writeCpio([{ path: "/init", mode: 0o100755 }])).toThrow('cpio: path "/init"');
    expect(() => writeCpio([{ path: "", mode: 0o100755 }])).toThrow('cpio: path ""');
  });
});

describe("initramfs", () => {
  it("holds busybox, the modules and an executable init, folders first", () => {
    const script = initScript(["crc16", "ext4"], ["function"]);
    const packed = initramfs(Buffer.from("BB"), [{ name: "ext4", bytes: Buffer.from("KO") }], script);
    const files = readCpio(gunzipSync(packed));
    expect(files.map(({ path }) => path)).toEqual([
      ...["bin", "proc", "sys", "dev", "mod", "tmp"],
      ...["bin/busybox", "mod/ext4.ko", "init"],
    ]);
    expect(files[0]).toMatchObject({ mode: 0o040755, links: 2 });
    expect(files.at(-1)).toEqual({ path: "init", mode: 0o100755, links: 1, data: script });
    expect(packed).toEqual(initramfs(Buffer.from("BB"), [{ name: "ext4", bytes: Buffer.from("KO") }], script));
  });
});

describe("initScript", () => {
  it("loads the modules in order, then brings the states about, then says that it is ready", () => {
    const script = initScript(["crc16", "ext4"], ["filter", "events"]);
    const order = ["for m in crc16 ext4;", "set_ftrace_filter", "sched_schedstats", 'say "loaded', 'say "ready'];
    const places = order.map((piece) => script.indexOf(piece));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places).not.toContain(-1);
  });
  it.each(Object.keys(guestStates))("state %s reports under its own name", (name) => {
    if (!isStateName(name)) throw new Error(name);
    expect(initScript([], [name])).toMatch(new RegExp(`\\bcheck ${name} `));
  });
});

describe("readGuestReport", () => {
  const serial = [
    "[    0.000000] Linux version 6.1",
    "@lab:failed xfs\r",
    "@lab:check kprobe 2 1\r",
    "[    3.1] @lab:loaded ext4\r",
    "@lab:vulnerability spectre_v2 Mitigation: Retpolines; STIBP: disabled\r",
    "@lab:online 0-3\r",
    "@lab:ready 4.84\r\n",
  ].join("\n");
  it("reads the lab's lines among the kernel's", () => {
    expect(readGuestReport(serial)).toEqual({
      ready: true,
      loaded: ["ext4"],
      failed: ["xfs"],
      vulnerabilities: { spectre_v2: "Mitigation: Retpolines; STIBP: disabled" },
      online: "0-3",
      checks: { kprobe: "2 1" },
    });
  });
  it("is not ready before the guest says so", () => {
    expect(readGuestReport("[    1.0] booting").ready).toBe(false);
  });
  // state, the guest's words, whether it took
  it.each<[StateName, string, boolean]>([
    ["plain", "yes", true],
    ["function", "nop", false],
    ["kprobe", "2 1", true],
    ["kprobe", "2 0", false],
    ["kprobe-int3", "3 0", true],
    ["hotplug", "0-3 0-3", true],
    ["hotplug", "0,2-3 0-3", false],
    ["online", "0 0-3 0-3", true],
    ["online", "0-3 0-3 0-3", false],
    ["toggle", "12 3 4", true],
    ["toggle", "12 3", false],
    ["events", "1 6", true],
  ])("state %s with the words %j: %s", (state, words, took) => {
    const wrong = statesNotTaken(readGuestReport(`@lab:check ${state} ${words}\r\n`), [state]);
    expect(wrong).toEqual(took ? [] : [`${state} (the guest said "${words}")`]);
  });
  it("counts a state without a word as not taken", () => {
    expect(statesNotTaken(readGuestReport(""), ["graph"])).toEqual(['graph (the guest said "nothing")']);
  });
});
