// Bug 838026 as the acceptance test of the records: imported, lived through by Launchpad's own client and the command
// line, closed by the Janitor from a changelog, and shown with every fact of the original page in its order.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildServer } from "../../packages/records/src/service/server.ts";
import { openStore, type Store } from "../../packages/records/src/store/open.ts";
import { temporaryFolder } from "../../packages/records/src/testing/temporary-store.ts";
import { noLaunchpadlib, palimpsest, runPython } from "./records/programs.ts";

const fixtures = join(import.meta.dirname, "../../packages/records/src/testing/bug-838026");
let folder: string;
let work: string;
let store: Store;
let app: FastifyInstance;
let root: string;

const plain = (html: string): string =>
  html
    .replace(/<(script|style)[\s\S]*?<\/\1>/g, "")
    .replace(/<[^>]+>/g, "")
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/&quot;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&amp;/g, "&");

describe.skipIf(noLaunchpadlib !== undefined)(`bug 838026 ${noLaunchpadlib ?? ""}`, () => {
  beforeAll(async () => {
    folder = await temporaryFolder();
    work = mkdtempSync(join(tmpdir(), "palimpsest-838026-"));
    mkdirSync(join(work, "credentials"));
    const cli = async (...args: string[]) => palimpsest([...args, "--store", folder]);
    await cli("record", "import", join(fixtures, "bug.text"), "--keep-numbers");
    await cli("record", "series", "ubuntu", "oneiric", "--current", "--series-version", "11.10");
    const people = {
      smb: "Stefan Bader",
      apw: "Andy Whitcroft",
      "timg-tpi": "Tim Gardner",
      "ubuntu-driver": "Ubuntu Driver",
    };
    for (const [name, full] of Object.entries(people)) {
      await cli("record", "login", name, "--display-name", full, "--credentials", join(work, "credentials", name));
    }
    await cli("record", "person", "ubuntu-driver", "--admin");
    store = await openStore({ store: folder });
    app = await buildServer({ store, rate: 0 });
    root = `${await app.listen({ host: "127.0.0.1", port: 0 })}/`;
  });
  afterAll(async () => {
    await app?.close();
    await store?.close();
    for (const each of [folder, work]) if (each) rmSync(each, { recursive: true, force: true });
  });

  it("goes from New to Fix Committed by launchpadlib", async () => {
    const said = await runPython("walk-838026.py", [root, join(work, "credentials"), work, fixtures]);
    expect(said.trim()).toBe("['Fix Committed', 'Fix Committed']");
  });

  it("is Fix Released by the Janitor, while the service runs, and once only", async () => {
    const run = () => palimpsest(["janitor", "changelog", join(fixtures, "changelog"), "--store", folder]);
    const [first, second] = [await run(), await run()];
    expect(first).toContain("#838026  linux 3.0.0-10.16  linux (Ubuntu Oneiric): Fix Released\n");
    expect(second).toContain("#838026  linux 3.0.0-10.16  linux (Ubuntu Oneiric): was done before\n");
  });

  it("has a page with every fact of the original, in the same order", async () => {
    const response = await fetch(`${root}bugs/838026`);
    expect(response.status).toBe(200);
    const text = plain(await response.text());
    const facts = [
      "Running Oneiric kernel as Xen HVM guest with pvlocks hangs on boot",
      "Bug #838026 reported by Stefan Bader",
      "6",
      "This bug affects 1 person",
      ...["Affects", "Status", "Importance", "Assigned to", "Milestone"],
      ...["linux (Ubuntu)", "Fix Released", "High", "Stefan Bader", "Oneiric", "Fix Released", "High", "Stefan Bader"],
      "Bug Description",
      "Since xen-4.1.1 the hypervisor supports callback vectors",
      "floppy_lock is released",
      "Stefan Bader (smb)",
      "Changed in linux (Ubuntu):",
      ...["status: New → In Progress", "assignee: nobody → Stefan Bader (smb)", "importance: Undecided → High"],
      ...[
        "Revision history for this message",
        "Andy Whitcroft (apw) wrote",
        "FFFFFFFFA0020E0C + FFFFFFFFE15DC374 => FFFFFFFF815FD180",
        "xen_spin_unlock",
        "__ticket_spin_lock",
      ],
      ...[
        "Revision history for this message",
        "Stefan Bader (smb) wrote",
        "xen_hvm_smp_init",
        "smp_prepare_cpus (calls xen_init_spinlocks through smp_ops hook)",
        "CONFIG_INLINE_SPIN_*",
      ],
      ...["Tim Gardner (timg-tpi)", "Changed in linux (Ubuntu Oneiric):", "status: In Progress → Fix Committed"],
      ...["Revision history for this message", "Launchpad Janitor (janitor) wrote", "Download full text", "KiB)"],
      "This bug was fixed in the package linux - 3.0.0-10.16",
      "---------------\nlinux (3.0.0-10.16) oneiric; urgency=low",
      ...["[ Andy Whitcroft ]", "LP: #832694", "[ Kees Cook ]", "CONFIG_EFI_VARS", "Read more..."],
      ...["Changed in linux (Ubuntu Oneiric):", "status: Fix Committed → Fix Released"],
      "To post a comment you must log in.",
      "This report contains Public information",
      "Everyone can see this information.",
      "Other bug subscribers",
    ];
    let at = 0;
    for (const fact of facts) {
      const found = text.indexOf(fact, at);
      expect(found, `"${fact}" after "${text.slice(Math.max(0, at - 60), at)}"`).toBeGreaterThanOrEqual(0);
      at = found + fact.length;
    }
  });

  it("gives the whole changelog where the page cuts it, and the activity where it hides it", async () => {
    const whole = await (await fetch(`${root}bugs/838026/comments/3/+download`)).text();
    expect(whole.endsWith("Fri, 09 Sep 2011 14:02:11 -0700")).toBe(true);
    expect(whole).toContain("- LP: #838026");
    const log = plain(await (await fetch(`${root}bugs/838026/+activity`)).text());
    expect(log).toContain("nominated for series");
  });
});
