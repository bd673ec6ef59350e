// A store in a temporary folder for one test file.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore, type Store } from "../store/open.ts";

export async function temporaryStore(): Promise<Store> {
  const folder = mkdtempSync(join(tmpdir(), "palimpsest-records-"));
  const store = await openStore({ store: join(folder, "store") });
  return {
    ...store,
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
