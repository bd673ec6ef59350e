// What a monitoring system reads: requests, their times, and how many deliveries wait. Counts tell nothing of private
// records: the numbers of records are those of public ones.

import { sql } from "kysely";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Store } from "../store/open.ts";

export interface Metrics {
  readonly contentType: string;
  observe(method: string, status: number, milliseconds: number): void;
  text(): Promise<string>;
}

export function makeMetrics(store: Store): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: "palimpsest_http_requests_total",
    help: "requests answered",
    labelNames: ["method", "status"],
    registers,
  });
  const seconds = new Histogram({
    name: "palimpsest_http_request_seconds",
    help: "time to answer",
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers,
  });
  const bugs = new Gauge({ name: "palimpsest_public_records", help: "public records", registers });
  const waiting = new Gauge({
    name: "palimpsest_deliveries_waiting",
    help: "hooks and mails not yet delivered",
    registers,
  });
  return {
    contentType: registry.contentType,
    observe: (method, status, milliseconds) => {
      requests.inc({ method, status: String(status) });
      seconds.observe(milliseconds / 1000);
    },
    text: async () => {
      const { rows } = await sql<{ bugs: number; waiting: number }>`select
        (select count(*) from bug where information_type in ('Public', 'Public Security'))::integer as bugs,
        (select count(*) from delivery where date_done is null and not gave_up)::integer as waiting`.execute(store.db);
      bugs.set(rows[0]!.bugs);
      waiting.set(rows[0]!.waiting);
      return registry.metrics();
    },
  };
}
