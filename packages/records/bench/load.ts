// The load generator: many made-up records, then many clients at once, and how long the slowest twentieth waited.
//   npm run bench:records -- [--records N] [--clients N] [--seconds N] [--store postgres://…|DIR]
// Without --store Debian's PostgreSQL is started in a temporary folder.
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { sql } from "kysely";
import { buildServer } from "../src/service/server.ts";
import { openStore, type Store } from "../src/store/open.ts";
import { startPostgres } from "../src/testing/postgres.ts";

const { values } = parseArgs({
  options: {
    records: { type: "string", default: "10000" },
    comments: { type: "string", default: "10" },
    clients: { type: "string", default: "50" },
    seconds: { type: "string", default: "20" },
    store: { type: "string" },
  },
});
const records = Number(values.records);
const perRecord = Number(values.comments);
const clients = Number(values.clients);

/** Words as kernel reports have them; rare ones are rare. */
const WORDS =
  "kernel hang boot lock spinlock xen floppy module panic oops resume suspend driver network disk memory audio usb wifi ext4 btrfs nfs page fault stall cpu irq timer scheduler cgroup tracing paravirt ticket queue firmware".split(
    " ",
  );

async function fill({ db }: Store): Promise<void> {
  await sql`create or replace function pick(seed bigint, count integer) returns text language sql immutable as $$
    select string_agg((${sql.raw(`'{${WORDS.join(",")}}'::text[]`)})[1 + (power(abs(hashint8(seed * 31 + i) % 10007) / 10007.0, 2) * ${sql.raw(String(WORDS.length - 1))})::int], ' ') || ' w' || (abs(hashint8(seed)) % 5000)
    from generate_series(1, count) i $$`.execute(db);
  const owner = sql`(select id from person where name = 'registry')`;
  const pillar = sql`(select id from pillar where name = 'ubuntu')`;
  const at = sql`now() - (n || ' minutes')::interval`;
  await sql`insert into bug (id, title, description, original_description, information_type, owner_id, date_created,
      date_last_updated, date_last_message, message_count, users_affected_count, words, heat)
    select n, pick(n, 6), pick(n, 60), '', 'Public', ${owner}, ${at}, ${at}, ${at}, ${1 + perRecord}, 1,
      setweight(to_tsvector('english', pick(n, 6)), 'A') || setweight(to_tsvector('english', pick(n, 60)), 'B'), n % 100
    from generate_series(1, ${records}::integer) n`.execute(db);
  await sql`insert into bug_task (bug_id, pillar_id, package, status, importance, owner_id, date_created)
    select n, ${pillar}, 'linux', (array[10, 20, 22, 25, 30])[1 + n % 5], (array[5, 20, 30, 40, 50])[1 + (n / 7) % 5], ${owner}, ${at}
    from generate_series(1, ${records}::integer) n`.execute(db);
  await sql`insert into message (bug_id, index, owner_id, content, date_created)
    select n, i, ${owner}, pick(n * 100 + i, 40), ${at} from generate_series(1, ${records}::integer) n, generate_series(0, ${perRecord}::integer) i`.execute(
    db,
  );
  await sql`insert into activity (bug_id, person_id, date, what, old_value, new_value)
    select n, ${owner}, ${at}, 'linux (Ubuntu): status', 'New', 'Confirmed' from generate_series(1, ${records}::integer) n`.execute(
    db,
  );
  await sql`analyze`.execute(db);
}

const agent = new Agent({ keepAlive: true, maxSockets: clients });
function timed(url: string): Promise<number> {
  const start = performance.now();
  return new Promise((done, failed) => {
    get(url, { agent }, (response) => {
      response.resume();
      response.on("end", () => {
        if (response.statusCode === 200) done(performance.now() - start);
        else failed(new Error(`${url}: ${response.statusCode}`));
      });
    }).on("error", failed);
  });
}

/** All clients ask without a pause. */
async function measure(site: string, name: string, path: (n: number) => string): Promise<void> {
  const times: number[] = [];
  const end = performance.now() + Number(values.seconds) * 1000;
  let n = 0;
  const client = async (): Promise<void> => {
    while (performance.now() < end) times.push(await timed(site + path(n++)));
  };
  await Promise.all(Array.from({ length: clients }, client));
  times.sort((a, b) => a - b);
  const at = (share: number): string => `${times[Math.floor(times.length * share)]!.toFixed(1)} ms`;
  const rate = Math.round(times.length / Number(values.seconds));
  process.stdout.write(
    `${name.padEnd(12)} ${clients} clients  ${rate} requests/s  p50 ${at(0.5)}  p95 ${at(0.95)}  p99 ${at(0.99)}\n`,
  );
}

const cluster =
  values.store === undefined ? await startPostgres(["shared_buffers=1GB", "max_wal_size=4GB"]) : undefined;
const blobs = mkdtempSync(join(tmpdir(), "palimpsest-bench-"));
const store = await openStore({ store: values.store ?? (await cluster!.database("bench")), blobs, connections: 16 });
try {
  const start = performance.now();
  await fill(store);
  process.stdout.write(
    `${records} records, ${records * perRecord} comments made in ${((performance.now() - start) / 1000).toFixed(0)} s\n`,
  );
  const app = await buildServer({ store, rate: 0 });
  const site = await app.listen({ host: "127.0.0.1", port: 0 });
  await measure(site, "bug page", (n) => `/bugs/${1 + ((n * 7919) % records)}`);
  await measure(site, "search", (n) => `/bugs?q=${WORDS[(n * 13) % WORDS.length]}+w${(n * 7919) % 5000}`);
  await measure(site, "common word", (n) => `/bugs?q=${WORDS[(n * 13) % WORDS.length]}`);
  await app.close();
} finally {
  await store.close();
  await cluster?.stop();
  rmSync(blobs, { recursive: true, force: true });
}
