// Every changelog of this machine: the same entries and the same bugs as dpkg reads, and no exception.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { parseChangelog } from "../../packages/records/src/janitor/changelog.ts";

const noDpkg = existsSync("/usr/share/perl5/Dpkg/Changelog/Parse.pm") ? "" : " (libdpkg-perl is not installed)";

/** More changelogs than the machine's own: a folder of them, NAME or NAME.gz. */
const more = process.env.PALIMPSEST_CHANGELOGS;

function changelogs(): string[] {
  const docs = "/usr/share/doc";
  const own = readdirSync(docs).map((name) => join(docs, name, "changelog.Debian.gz"));
  return [...own, ...(more === undefined ? [] : readdirSync(more).map((name) => join(more, name)))].filter((path) =>
    existsSync(path),
  );
}

async function dpkg(script: string, input: string, env: NodeJS.ProcessEnv): Promise<string> {
  const child = spawn("perl", [script], { env, stdio: ["pipe", "pipe", "ignore"] });
  child.stdin.end(input);
  const parts: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  await new Promise((done) => child.once("close", done));
  return Buffer.concat(parts).toString("utf8");
}

it.skipIf(noDpkg !== "")(`all changelogs close what dpkg says they close${noDpkg}`, async () => {
  const work = mkdtempSync(join(tmpdir(), "palimpsest-changelogs-"));
  try {
    mkdirSync(join(work, "origins"));
    writeFileSync(join(work, "origins", "ubuntu"), "Vendor: Ubuntu\nVendor-URL: http://www.ubuntu.com/\n");
    const files = changelogs();
    const paths = files.map((file, at) => {
      const bytes = readFileSync(file);
      const path = join(work, String(at));
      writeFileSync(path, bytes[0] === 0x1f ? gunzipSync(bytes) : bytes);
      return path;
    });
    const env = { ...process.env, DEB_VENDOR: "Ubuntu", DPKG_ORIGINS_DIR: join(work, "origins"), LC_ALL: "C.UTF-8" };
    const said = await dpkg(join(import.meta.dirname, "records", "dpkg-closes.pl"), paths.join("\n"), env);
    const theirs = new Map<string, string[]>(paths.map((path) => [path, []]));
    for (const line of said.split("\n").filter(Boolean)) {
      const [path, version, closes, launchpad] = line.split("\t");
      theirs.get(path!)!.push(`${version} closes ${closes} launchpad ${launchpad}`);
    }
    const differing: string[] = [];
    let entries = 0;
    let bugs = 0;
    for (const [at, path] of paths.entries()) {
      const mine = parseChangelog(readFileSync(path, "utf8"));
      entries += mine.length;
      bugs += mine.reduce((sum, entry) => sum + entry.closes.length + entry.launchpad.length, 0);
      const words = mine.map(
        (entry) => `${entry.version} closes ${entry.closes.join(" ")} launchpad ${entry.launchpad.join(" ")}`,
      );
      const dpkg = theirs.get(path)!;
      for (let i = 0; i < Math.max(words.length, dpkg.length); i++) {
        if (words[i] !== dpkg[i]) {
          differing.push(`${files[at]}: ${words[i]} | dpkg: ${dpkg[i]}`);
          break;
        }
      }
    }
    expect(differing).toEqual([]);
    expect([files.length > 100, entries > files.length, bugs > 1000]).toEqual([true, true, true]);
    console.log(`${files.length} changelogs, ${entries} entries, ${bugs} bugs`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
});
