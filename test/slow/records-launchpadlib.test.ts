// Launchpad's own programs against the service: Debian's launchpadlib call by call, and lptools.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildServer } from "../../packages/records/src/service/server.ts";
import type { Store } from "../../packages/records/src/store/open.ts";
import { openStore } from "../../packages/records/src/store/open.ts";
import { temporaryFolder } from "../../packages/records/src/testing/temporary-store.ts";
import { hasProgram, noLaunchpadlib, palimpsest, runProgram, runPython } from "./records/programs.ts";

let folder: string;
let work: string;
let store: Store;
let app: FastifyInstance;
let root: string;

describe.skipIf(noLaunchpadlib !== undefined)(`Launchpad's client ${noLaunchpadlib ?? ""}`, () => {
  beforeAll(async () => {
    folder = await temporaryFolder();
    work = mkdtempSync(join(tmpdir(), "palimpsest-launchpadlib-"));
    writeFileSync(join(work, "password"), "correct horse battery\n");
    const flags = [
      "--display-name",
      "Stefan Bader",
      "--password-file",
      join(work, "password"),
      "--credentials",
      join(work, "credentials"),
    ];
    await palimpsest(["record", "login", "smb", "--store", folder, ...flags]);
    store = await openStore({ store: folder });
    app = await buildServer({ store, rate: 0 });
    root = `${await app.listen({ host: "127.0.0.1", port: 0 })}/`;
  });
  afterAll(async () => {
    await app?.close();
    await store?.close();
    for (const each of [folder, work]) if (each) rmSync(each, { recursive: true, force: true });
  });

  it("gets what it expects from each of more than 40 calls", async () => {
    const said = await runPython("launchpadlib-calls.py", [
      root,
      join(work, "credentials"),
      work,
      "smb",
      "correct horse battery",
    ]).catch((error: { stdout?: string }) => error.stdout ?? String(error));
    expect(said.split("\n").filter((line) => line.startsWith("FAIL"))).toEqual([]);
    expect(said.split("\n").filter((line) => line.startsWith("ok ")).length).toBeGreaterThanOrEqual(90);
    expect(said).toContain("\n0 failed\n");
  });

  describe.skipIf(!hasProgram("lp-list-bugs"))("lptools", () => {
    const lptools = (program: string, ...args: string[]) =>
      runProgram(program, args, { LPINSTANCE: root, LP_CREDENTIALS_FILE: join(work, "credentials"), HOME: work });

    it("lp-list-bugs lists a bug", async () => {
      expect(await lptools("lp-list-bugs", "1")).toContain(
        "Bug 1: A comment does not break a save\n  linux (Ubuntu): In Progress",
      );
    });
    it("lp-set-dup marks a duplicate, and lp-bug-dupe-properties tells it", async () => {
      expect(await lptools("lp-set-dup", "-f", "1", "2")).toContain("Marking bug 2 as a duplicate of 1");
      expect(await lptools("lp-bug-dupe-properties", "-r", "-b", "1")).toContain("LP: #1 has 1 duplicate\n  smb: 2");
    });
    it("lp-shell runs code, as somebody and as nobody", async () => {
      expect(await lptools("lp-shell", "-c", "print(lp.me.name)", root, "1.0")).toContain("smb");
      expect(await lptools("lp-shell", "-a", "-c", "print(lp.bugs[1].title)", root, "1.0")).toContain(
        "A comment does not break",
      );
    });
  });
});
