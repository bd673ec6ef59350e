// `serve`: the pages and Launchpad's web service API over a store.
import type { Command } from "commander";
import { UsageError } from "../../../../core/src/analysis/refusals.ts";
import { note, print } from "../../terminal.ts";
import { wholeNumber, wholeNumberOption } from "../common.ts";
import { type StoreOptions, storeCommand, withStore } from "./store.ts";

interface ServeOptions extends StoreOptions {
  readonly listen?: string;
  readonly publicUrl?: string;
  readonly rate?: string;
  readonly smtp?: string;
  readonly mailFrom?: string;
  readonly quiet?: boolean;
}

export function registerServe(program: Command): void {
  storeCommand(program, "serve", "web pages and Launchpad's API over bug records")
    .option("--listen <address:port>", "where to listen (port 0: any free one)", "127.0.0.1:8085")
    .option("--public-url <url>", "the address that links are made with, behind a proxy")
    .addOption(wholeNumberOption("--rate <n>", "requests a minute and address (0: no limit)", "6000"))
    .option("--smtp <url>", "smtp://host:port for notification mail (default: no mail)")
    .option("--mail-from <address>", "the sender of notifications", "records@localhost")
    .option("--quiet", "no log of requests on stderr")
    .action((options: ServeOptions) => run(options));
}

function listenOn(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-f:]+)\]|([^:\s]*)):(\d{1,5})$/i.exec(text);
  if (match === null || Number(match[3]) > 65535)
    throw new UsageError(`"${text}" is no address and port`, "Give --listen 127.0.0.1:8085.");
  return { host: match[1] ?? (match[2] || "127.0.0.1"), port: Number(match[3]) };
}

async function run(options: ServeOptions): Promise<void> {
  await withStore({ ...options, as: "janitor" }, async ({ records, store }) => {
    const { host, port } = listenOn(options.listen ?? "127.0.0.1:8085");
    const app = await records.buildServer({
      store,
      rate: wholeNumber(options.rate, 6000),
      publicUrl: options.publicUrl,
      log: options.quiet ? undefined : { write: (line) => note(line.trimEnd()) },
    });
    const address = await app.listen({ host, port });
    const stop = new AbortController();
    const site = options.publicUrl ?? address;
    const deliveries = records.deliverForever({
      store,
      site,
      smtp: options.smtp,
      mailFrom: options.mailFrom,
      signal: stop.signal,
    });
    const ended = new Promise<void>((done) => {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => done());
    });
    print(
      options.json
        ? `${JSON.stringify({ schema: "palimpsest/serve/1", url: address })}\n`
        : `serving at ${address}/  (API: ${address}/1.0/, end with Ctrl-C)\n`,
    );
    await ended;
    stop.abort();
    await app.close();
    await deliveries;
    return 0;
  });
}
