// The model's tests on a real PostgreSQL.
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openStore } from "../../packages/records/src/store/open.ts";
import { modelTests } from "../../packages/records/src/testing/model-tests.ts";
import { type Cluster, noPostgres, startPostgres } from "../../packages/records/src/testing/postgres.ts";

let cluster: Cluster | undefined;

if (noPostgres !== undefined) {
  it.skipIf(true)(`records on PostgreSQL: ${noPostgres}`, () => expect.unreachable());
} else {
  beforeAll(async () => {
    cluster = await startPostgres();
  });
  afterAll(async () => {
    await cluster?.stop();
  });
  modelTests("PostgreSQL", async () => {
    const blobs = mkdtempSync(join(tmpdir(), "palimpsest-blobs-"));
    return openStore({ store: await cluster!.database("model"), blobs });
  });
}
