// Debian's PostgreSQL in a temporary folder, run by a user without rights: what the tests and the load generator use.
import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** The folder of the newest installed server's programs. */
export function postgresPrograms(): string | undefined {
  const root = "/usr/lib/postgresql";
  if (!existsSync(root)) return undefined;
  const versions = readdirSync(root)
    .filter((version) => existsSync(join(root, version, "bin", "postgres")))
    .sort((a, b) => Number(b) - Number(a));
  return versions[0] === undefined ? undefined : join(root, versions[0], "bin");
}

/** Why tests on PostgreSQL cannot run here; undefined when they can. */
export const noPostgres =
  postgresPrograms() === undefined ? "PostgreSQL is not installed (apt-get install postgresql)" : undefined;

export interface Cluster {
  /** A new, empty database. */
  database(name: string): Promise<string>;
  /** SIGKILL to the whole server, as a power cut; `start` brings it back. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** PostgreSQL refuses to run as root. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

export async function startPostgres(settings: readonly string[] = []): Promise<Cluster> {
  const programs = postgresPrograms();
  if (programs === undefined) throw new Error(noPostgres);
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-postgres-"));
  const who = unprivileged();
  if (who.uid !== undefined) chownSync(folder, who.uid, who.gid!);
  const data = join(folder, "data");
  const run = (program: string, args: readonly string[]) =>
    execFileSync(join(programs, program), args, { ...who, cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  run("initdb", ["-D", data, "-U", "palimpsest", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]);
  const port = await freePort();
  const url = (name: string) => `postgres://palimpsest@127.0.0.1:${port}/${name}`;
  let server: ReturnType<typeof spawn> | undefined;
  const start = async (): Promise<void> => {
    const options = [`port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${folder}`, "fsync=off"];
    const flags = [...options, ...settings].flatMap((option) => ["-c", option]);
    server = spawn(join(programs, "postgres"), ["-D", data, ...flags], { ...who, cwd: folder, stdio: "ignore" });
    for (let attempt = 0; attempt < 150; attempt++) {
      try {
        run("pg_isready", ["-h", "127.0.0.1", "-p", String(port), "-q"]);
        return;
      } catch {
        await wait(100);
      }
    }
    throw new Error("PostgreSQL did not start");
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const gone = new Promise((done) => server!.once("exit", done));
    server.kill(signal);
    await gone;
  };
  await start();
  return {
    database: async (name) => {
      run("createdb", ["-h", "127.0.0.1", "-p", String(port), "-U", "palimpsest", name]);
      return url(name);
    },
    kill: () => end("SIGKILL"),
    start,
    stop: async () => {
      await end("SIGINT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
