// A folder's owner answers for the other processes that want it: `palimpsest record …` works while `palimpsest serve`
// has the store open. One socket connection is one turn of the session; frames are Node's own serialisation, which
// keeps dates, bytes and null.
import { chmodSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { deserialize, serialize } from "node:v8";
import type { SqlSession, SqlSource } from "./pglite-driver.ts";

type Request = { readonly sql: string; readonly parameters: readonly unknown[] };
type Answer =
  | { readonly rows: unknown[]; readonly affected?: number }
  | { readonly error: string; readonly code?: string; readonly constraint?: string };

const LONGEST_FRAME = 512 << 20;

function writeFrame(socket: Socket, value: unknown): void {
  const body = serialize(value);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(body.length);
  socket.write(Buffer.concat([head, body]));
}

/** Calls back for each whole frame. */
function readFrames(socket: Socket, take: (value: unknown) => void): void {
  let pending: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= 4) {
      const length = pending.readUInt32LE(0);
      if (length > LONGEST_FRAME) {
        socket.destroy(new Error("a frame is too long"));
        return;
      }
      if (pending.length < 4 + length) return;
      const body = pending.subarray(4, 4 + length);
      pending = pending.subarray(4 + length);
      take(deserialize(body));
    }
  });
}

/** Serves a source on a Unix socket that only this user can open. */
export async function share(source: SqlSource, path: string): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    const session = source.acquire();
    let work: Promise<void> = Promise.resolve();
    socket.on("error", () => socket.destroy());
    readFrames(socket, (value) => {
      const { sql, parameters } = value as Request;
      work = work.then(async () => {
        let answer: Answer;
        try {
          answer = await (await session).query(sql, parameters);
        } catch (error) {
          const { message, code, constraint } = error as Error & { code?: string; constraint?: string };
          answer = { error: message, code, constraint };
        }
        writeFrame(socket, answer);
      });
    });
    socket.on("close", () => {
      // A client that was killed in a transaction leaves nothing of it.
      void work.then(async () => {
        const held = await session;
        await held.query("rollback", []).catch(() => {});
        held.release();
      });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

/** An error that the database told through the socket, with PostgreSQL's own code. */
class SharedError extends Error {
  constructor(
    message: string,
    readonly code: string | undefined,
    readonly constraint: string | undefined,
  ) {
    super(message);
  }
}

/** Sessions from another process's socket. */
export class SharedSource implements SqlSource {
  constructor(private readonly path: string) {}

  async acquire(): Promise<SqlSession> {
    const socket = createConnection(this.path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    let waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
    readFrames(socket, (value) => waiting?.resolve(value as Answer));
    const gone = (): void => waiting?.reject(new Error("the process that holds the store went away"));
    socket.on("error", gone);
    socket.on("close", gone);
    return {
      query: async (sql, parameters) => {
        const answer = await new Promise<Answer>((resolve, reject) => {
          waiting = { resolve, reject };
          writeFrame(socket, { sql, parameters } satisfies Request);
        });
        waiting = undefined;
        if ("error" in answer) throw new SharedError(answer.error, answer.code, answer.constraint);
        return answer;
      },
      release: () => socket.end(),
    };
  }

  async close(): Promise<void> {}
}
