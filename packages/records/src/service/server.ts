// `palimpsest serve`: the web service and the pages in one process, with limits, metrics and structured logs.
import multipart from "@fastify/multipart";
import rateLimit from "@fastify/rate-limit";
import Fastify, { type FastifyInstance, type FastifyRequest } from "fastify";
import { registerApi } from "../api/routes.ts";
import { LARGEST_ATTACHMENT } from "../model/messages.ts";
import type { Store } from "../store/open.ts";
import { registerPages } from "../web/pages.ts";
import { makeMetrics } from "./metrics.ts";

export interface ServerOptions {
  readonly store: Store;
  /** requests a minute and address; 0: no limit */
  readonly rate?: number;
  /** largest attachment in bytes */
  readonly largestUpload?: number;
  /** the address that links are made with, where a proxy stands before the service */
  readonly publicUrl?: string;
  /** where log lines go; none without it */
  readonly log?: { write(line: string): void };
}

const LARGEST_FORM = 4 << 20;

export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const { store } = options;
  const app = Fastify({
    logger: options.log === undefined ? false : { level: "info", stream: options.log },
    bodyLimit: LARGEST_FORM,
    routerOptions: { maxParamLength: 500 },
    requestTimeout: 60_000,
    forceCloseConnections: true,
  });
  const siteOf = (request: FastifyRequest): string =>
    options.publicUrl?.replace(/\/$/, "") ?? `http://${hostOf(request)}`;
  app.removeAllContentTypeParsers();
  // Launchpad's client sends some forms without naming their type; who reads a body says what it has to be.
  app.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));
  await app.register(multipart, {
    limits: {
      fileSize: options.largestUpload ?? LARGEST_ATTACHMENT,
      files: 20,
      fields: 100,
      fieldSize: LARGEST_FORM,
      parts: 120,
    },
  });
  if (options.rate !== 0) {
    await app.register(rateLimit, {
      max: options.rate ?? 6000,
      timeWindow: "1 minute",
      allowList: (request) => request.url === "/healthz",
    });
  }
  app.addHook("onSend", async (_request, reply) => {
    reply
      .header("x-content-type-options", "nosniff")
      .header("referrer-policy", "same-origin")
      .header("x-frame-options", "DENY");
    if (!reply.hasHeader("content-security-policy")) {
      reply.header(
        "content-security-policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
      );
    }
  });
  const metrics = makeMetrics(store);
  app.addHook("onResponse", async (request, reply) =>
    metrics.observe(request.method, reply.statusCode, reply.elapsedTime),
  );
  app.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  app.get("/healthz", async (_request, reply) => {
    try {
      await store.db.selectFrom("migration").select("number").limit(1).execute();
      return reply.type("text/plain").send("ok\n");
    } catch {
      return reply.code(503).type("text/plain").send("the store does not answer\n");
    }
  });
  registerApi(app, { store, siteOf });
  registerPages(app, { store, siteOf });
  return app;
}

/** The host that the client named, if it is one: it goes into links. */
function hostOf(request: FastifyRequest): string {
  const host = request.headers.host ?? "";
  return /^[A-Za-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-f:]+\](:\d{1,5})?$/.test(host) ? host : "localhost";
}
