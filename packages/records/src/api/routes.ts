// The web service over HTTP: what Launchpad answers, in its status codes and words.
import type { MultipartFile, MultipartValue } from "@fastify/multipart";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ForbiddenError, InvalidError, MissingRecordError, RecordsError } from "../errors.ts";
import { changeBug } from "../model/change.ts";
import { removeTask } from "../model/tasks.ts";
import type { Store } from "../store/open.ts";
import { checkArguments, type RawArguments, type Upload } from "./arguments.ts";
import { listingOf, pageJson, seesMessage } from "./collections.ts";
import { Context } from "./context.ts";
import { type Entry, entryJson } from "./entries.ts";
import { actorOf } from "./oauth.ts";
import { Args, invoke, type Outcome } from "./operations.ts";
import { patch } from "./patch.ts";
import { entryOf, type Resource, resourceAt, typeOf } from "./resources.ts";
import { COLLECTIONS, typeNamed } from "./types.ts";
import { wadl } from "./wadl.ts";

const VERSIONS = ["1.0", "devel", "beta"];
const WADL_TYPE = "application/vnd.sun.wadl+xml";
/** What an attachment may call itself in a browser; all else is bytes to save. */
const SHOWN_TYPES = new Set([
  "text/plain",
  "image/png",
  "image/jpeg",
  "image/gif",
  "application/gzip",
  "application/json",
]);

export const STATUS_OF: Readonly<Record<RecordsError["kind"], number>> = {
  invalid: 400,
  forbidden: 401,
  missing: 404,
  conflict: 409,
  stale: 412,
  store: 503,
};

export interface ApiOptions {
  readonly store: Store;
  /** "http://127.0.0.1:8080" as the client wrote it */
  readonly siteOf: (request: FastifyRequest) => string;
}

export function registerApi(app: FastifyInstance, { store, siteOf }: ApiOptions): void {
  for (const version of VERSIONS) {
    const contextOf = async (request: FastifyRequest): Promise<Context> => {
      const site = siteOf(request);
      const found = await actorOf(store, request.headers.authorization);
      if (
        found !== undefined &&
        request.method !== "GET" &&
        request.method !== "HEAD" &&
        found.permission.startsWith("READ")
      ) {
        throw new ForbiddenError("This token may only read.");
      }
      return new Context(store, found?.actor, `${site}/${version}`, site, version);
    };
    const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      const ctx = await contextOf(request);
      return answer(ctx, request, reply);
    };
    const route = { method: ["GET", "POST", "PATCH", "PUT", "DELETE"], handler: handle, errorHandler: apiError };
    app.route({ ...route, url: `/${version}` });
    app.route({ ...route, url: `/${version}/*` });
  }
}

/** Launchpad's errors are plain text: the client shows them as they are. */
function apiError(error: Error, request: FastifyRequest, reply: FastifyReply): void {
  const status = error instanceof RecordsError ? STATUS_OF[error.kind] : statusOf(error);
  if (status >= 500) request.log.error({ error: error.message, stack: error.stack }, "request failed");
  const message = status >= 500 && !(error instanceof RecordsError) ? "The server could not do this." : error.message;
  void reply.code(status).type("text/plain;charset=utf-8").send(message);
}

/** What Fastify itself refused: a body that is too large, a type that it does not know. */
function statusOf(error: Error): number {
  const status = (error as Error & { statusCode?: unknown }).statusCode;
  return typeof status === "number" && status >= 400 && status < 500 ? status : 500;
}

async function answer(ctx: Context, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const url = new URL(request.url, ctx.site);
  const path = pathBelow(url, ctx.version);
  const resource = await resourceAt(ctx, path);
  if (resource.kind === "message" && !seesMessage(ctx, resource.message)) throw new MissingRecordError(path);
  switch (request.method) {
    case "GET":
    case "HEAD":
      return read(ctx, request, reply, resource, url);
    case "POST":
      return operate(ctx, request, reply, resource);
    case "PATCH":
    case "PUT":
      return write(ctx, request, reply, resource, path);
    default: {
      if (resource.kind !== "task") return reply.code(405).type("text/plain;charset=utf-8").send("Method not allowed.");
      await changeBug(ctx.store, ctx.actor, resource.bug.id, (change) => removeTask(change, resource.task.id));
      return reply.code(200).type("application/json").send("null");
    }
  }
}

function pathBelow(url: URL, version: string): string {
  try {
    return url.pathname
      .slice(version.length + 2)
      .split("/")
      .map(decodeURIComponent)
      .join("/");
  } catch {
    throw new MissingRecordError(url.pathname);
  }
}

/** The type exactly: with a charset behind it the client takes JSON for a file. */
function json(reply: FastifyReply, value: unknown, status = 200): FastifyReply {
  return reply.code(status).header("content-type", "application/json").serializer(String).send(JSON.stringify(value));
}

async function read(
  ctx: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  resource: Resource,
  url: URL,
): Promise<FastifyReply> {
  reply.header("vary", "Accept, Authorization").header("cache-control", "no-cache");
  if (resource.kind === "root") {
    if ((request.headers.accept ?? "").includes(WADL_TYPE)) return reply.type(WADL_TYPE).send(wadl(ctx.api));
    return json(reply, root(ctx));
  }
  if (resource.kind === "file") return file(ctx, reply, resource);
  const op = url.searchParams.get("ws.op");
  if (op !== null) {
    const raw = new Map<string, string[]>();
    for (const [name, value] of url.searchParams) raw.set(name, [...(raw.get(name) ?? []), value]);
    return reveal(ctx, reply, url, await operation(ctx, resource, op, "GET", raw));
  }
  if (resource.kind === "top" || resource.kind === "collection") {
    const listing = await listingOf(ctx, resource);
    if (url.searchParams.get("ws.show") === "total_size") return json(reply, await listing.count());
    return json(reply, await pageJson(ctx, listing, url));
  }
  const entry = await entryOf(ctx, resource);
  if (entry === undefined) throw new MissingRecordError(url.pathname);
  return entryReply(ctx, request, reply, entry);
}

function entryReply(ctx: Context, request: FastifyRequest, reply: FastifyReply, entry: Entry): FastifyReply {
  const value = entryJson(ctx, entry);
  const tag = String(value.http_etag);
  reply.header("etag", tag);
  if ((request.headers["if-none-match"] ?? "").split(",").some((each) => each.trim().replace(/^W\//, "") === tag)) {
    return reply.code(304).send();
  }
  return json(reply, value);
}

function root(ctx: Context): Record<string, string> {
  const links = COLLECTIONS.map(({ name }) => {
    const path = name === "bug_trackers" ? "bugs/bugtrackers" : name === "distributions" ? "distros" : name;
    return [`${name}_collection_link`, `${ctx.api}/${path}`];
  });
  return {
    ...Object.fromEntries(links),
    me_link: `${ctx.api}/people/+me`,
    resource_type_link: `${ctx.api}/#service-root`,
  };
}

async function file(ctx: Context, reply: FastifyReply, { attachment }: Extract<Resource, { kind: "file" }>) {
  return sendFile(ctx.store, reply, attachment);
}

/** An upload is never run: its type is one of a few, and the browser is told to save it and to guess nothing. */
export async function sendFile(
  store: Store,
  reply: FastifyReply,
  attachment: { digest: string; content_type: string; file_name: string },
): Promise<FastifyReply> {
  const bytes = await store.blobs.get(attachment.digest);
  if (bytes === undefined) throw new MissingRecordError("the attachment's file");
  const type = SHOWN_TYPES.has(attachment.content_type) ? attachment.content_type : "application/octet-stream";
  const name = encodeURIComponent(attachment.file_name).replace(
    /['()*]/g,
    (each) => `%${each.charCodeAt(0).toString(16)}`,
  );
  return reply
    .header("content-type", type === "text/plain" ? "text/plain;charset=utf-8" : type)
    .header("content-disposition", `attachment; filename*=UTF-8''${name}`)
    .header("content-location", `/+files/${name}`)
    .header("x-content-type-options", "nosniff")
    .header("content-security-policy", "default-src 'none'; sandbox")
    .send(Buffer.from(bytes));
}

async function operation(ctx: Context, resource: Resource, op: string, method: "GET" | "POST", raw: RawArguments) {
  const type = typeOf(resource);
  const declared =
    type === "" ? undefined : typeNamed(type).operations.find((each) => each.name === op && each.method === method);
  if (declared === undefined) throw new InvalidError("", `No such operation: ${op.slice(0, 80)}`);
  return invoke(ctx, resource, op, new Args(checkArguments(declared, raw)));
}

async function reveal(ctx: Context, reply: FastifyReply, url: URL, outcome: Outcome): Promise<FastifyReply> {
  if ("page" in outcome) {
    if (url.searchParams.get("ws.show") === "total_size") return json(reply, await outcome.page.count());
    return json(reply, await pageJson(ctx, outcome.page, url));
  }
  if ("entry" in outcome) return json(reply, entryJson(ctx, outcome.entry));
  if ("value" in outcome) return json(reply, outcome.value);
  return reply
    .code(201)
    .header("location", ctx.link(outcome.created) ?? "")
    .type("text/plain")
    .send("");
}

async function operate(
  ctx: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  resource: Resource,
): Promise<FastifyReply> {
  const raw = await bodyOf(request);
  const op = raw.get("ws.op")?.[0];
  if (typeof op !== "string") throw new InvalidError("", "No operation name given.");
  const url = new URL(request.url, ctx.site);
  return reveal(ctx, reply, url, await operation(ctx, resource, op, "POST", raw));
}

/** A form, or the parts of a multipart body; the values are decoded later, by what the operation declares. */
export async function bodyOf(request: FastifyRequest): Promise<RawArguments> {
  const out = new Map<string, (string | Upload)[]>();
  const add = (name: string, value: string | Upload): void => {
    if (out.size >= 100) throw new InvalidError("", "Too many arguments.");
    out.set(name, [...(out.get(name) ?? []), value]);
  };
  if (request.isMultipart()) {
    for await (const part of request.parts() as AsyncIterable<MultipartFile | MultipartValue<string>>) {
      if (part.type !== "file") {
        add(part.fieldname, part.value);
        continue;
      }
      const bytes = await part.toBuffer();
      // The client sends every argument as a file part; only the binary one has a name of a file.
      if (part.fieldname === "data" || part.filename) {
        add(part.fieldname, { fileName: part.filename, contentType: part.mimetype, bytes });
      } else {
        add(part.fieldname, bytes.toString("utf8"));
      }
    }
    return out;
  }
  if (typeof request.body === "string") for (const [name, value] of new URLSearchParams(request.body)) add(name, value);
  return out;
}

async function write(
  ctx: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  resource: Resource,
  path: string,
): Promise<FastifyReply> {
  let body: unknown;
  try {
    body = JSON.parse(typeof request.body === "string" ? request.body : "");
  } catch {
    throw new InvalidError("", "Entity-body was not a well-formed JSON document.");
  }
  const moved = await patch(ctx, resource, path, body, request.headers["if-match"]);
  if (moved !== path) {
    return reply
      .code(301)
      .header("location", ctx.link(moved) ?? "")
      .type("application/json")
      .send("");
  }
  const entry = await entryOf(ctx, await resourceAt(ctx, path)).catch((error: unknown) => {
    if (error instanceof MissingRecordError) return undefined; // made private to others by the one who wrote
    throw error;
  });
  if (entry === undefined) return json(reply, null, 209);
  const value = entryJson(ctx, entry);
  return json(reply.header("etag", String(value.http_etag)), value, 209);
}
