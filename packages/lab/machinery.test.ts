import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { run } from "./command.ts";
import { defaultOptions } from "./dump-types.ts";
import { withLock } from "./lock.ts";
import { dumpKey } from "./make-dump.ts";
import { cacheRoot, fillFolder } from "./paths.ts";
import { QmpClient } from "./qmp.ts";

const folder = mkdtempSync(join(tmpdir(), "palimpsest-lab-test-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("run", () => {
  it("hands over output and input", async () => {
    const { stdout } = await run("cat", ["-"], { timeoutSeconds: 10, input: Buffer.from("in") });
    expect(stdout.toString()).toBe("in");
  });
  it.each([
    ["false", [], "false : exit code 1"],
    ["sleep", ["20"], "sleep 20: still running after 0.1 s"],
    ["no-such-program", [], "no-such-program is not installed; try: apt-get install no-such-program"],
  ])("%s fails with a message", async (program, args, message) => {
    await expect(run(program, args, { timeoutSeconds: 0.1 })).rejects.toThrow(message);
  });
  it("stops a program that says too much", async () => {
    const options = { timeoutSeconds: 10, maxOutputBytes: 1000 };
    await expect(run("yes", [], options)).rejects.toThrow("yes : wrote more than 1000 bytes");
  });
});

describe("withLock", () => {
  it("lets one at a time in", async () => {
    const path = join(folder, "lock");
    const events: string[] = [];
    const work = (name: string) => async () => {
      events.push(`${name} in`);
      await sleep(20);
      events.push(`${name} out`);
    };
    await Promise.all([withLock(path, work("a")), withLock(path, work("b"))]);
    expect(events).toEqual(["a in", "a out", "b in", "b out"]);
    expect(existsSync(path)).toBe(false);
  });
  it("takes over the lock of a process that is gone, or that no process wrote", async () => {
    const path = join(folder, "stale");
    for (const content of ["999999999", "not a number"]) {
      writeFileSync(path, content);
      expect(await withLock(path, async () => "done")).toBe("done");
    }
  });
  it("gives up when the other one does not", async () => {
    const path = join(folder, "held");
    writeFileSync(path, String(process.pid));
    await expect(withLock(path, async () => 0, 0)).rejects.toThrow(`still held by process ${process.pid}`);
  });
});

describe("fillFolder", () => {
  it("is all or nothing", async () => {
    const target = join(folder, "filled");
    mkdirSync(`${target}.tmp-left`);
    await fillFolder(target, async (work) => writeFileSync(join(work, "a"), "1"));
    expect(existsSync(`${target}.tmp-left`)).toBe(false);
    const failing = fillFolder(target, async (work) => {
      writeFileSync(join(work, "a"), "2");
      throw new Error("half way");
    });
    await expect(failing).rejects.toThrow("half way");
    expect(readFileSync(join(target, "a"), "utf8")).toBe("1");
  });
});

describe("names in the cache", () => {
  it("follows XDG_CACHE_HOME when it is an absolute path", () => {
    expect(cacheRoot({ XDG_CACHE_HOME: "/c" })).toBe("/c/palimpsest/lab");
    expect(cacheRoot({ XDG_CACHE_HOME: "relative" })).toMatch(/\/\.cache\/palimpsest\/lab$/);
  });
  it("differs when anything of the guest does, and not with the formats", () => {
    const key = dumpKey(defaultOptions);
    expect(key).toMatch(/^plain-4cpu-192m-max-[0-9a-f]{8}$/);
    expect(dumpKey({ ...defaultOptions, formats: ["kdump-zlib"] })).toBe(key);
    expect(dumpKey({ ...defaultOptions, modules: ["loop"] })).not.toBe(key);
    expect(dumpKey({ ...defaultOptions, append: "nopti x=/a/b" })).toMatch(
      /^plain-4cpu-192m-max-nopti-x-a-b-[0-9a-f]{8}$/,
    );
  });
});

describe("QmpClient", () => {
  it("skips events and greeting, returns answers, words refusals", async () => {
    const path = join(folder, "qmp");
    const server = createServer((socket) => {
      socket.write('{"QMP": {}}\n');
      socket.on("data", (data) => {
        const { execute } = JSON.parse(data.toString()) as { execute: string };
        if (execute === "quit") socket.destroy();
        else if (execute === "bad") socket.write('{"error": {"desc": "no such thing"}}\n');
        else if (execute !== "silent") socket.write('{"event": "STOP"}\n{"return": {"n": 1}}\n');
      });
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const client = await QmpClient.connect(path);
    expect(await client.execute("good", {}, 5)).toEqual({ n: 1 });
    await expect(client.execute("bad", {}, 5)).rejects.toThrow("QMP: bad: no such thing");
    await expect(client.execute("silent", {}, 0.05)).rejects.toThrow("QMP: no answer to silent in 0.05 s");
    await expect(client.execute("quit", {}, 5)).rejects.toThrow("QMP: QEMU closed the connection");
    client.close();
    server.close();
  });
});
