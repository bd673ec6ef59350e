// Kysely on PGlite. PGlite is one PostgreSQL session, so a connection is a turn: whoever has it finishes a whole
// statement or transaction before the next one gets it.
import type { PGlite } from "@electric-sql/pglite";
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
} from "kysely";

/** One session with a database: runs a statement, or waits for its turn. */
export interface SqlSession {
  query(sql: string, parameters: readonly unknown[]): Promise<{ rows: unknown[]; affected?: number }>;
  release(): void;
}

export interface SqlSource {
  acquire(): Promise<SqlSession>;
  close(): Promise<void>;
}

/** PGlite's one session, in turns. */
export class PGliteSource implements SqlSource {
  private last: Promise<void> = Promise.resolve();
  constructor(readonly pglite: PGlite) {}

  async acquire(): Promise<SqlSession> {
    const before = this.last;
    let done = (): void => {};
    this.last = new Promise((resolve) => {
      done = resolve;
    });
    await before;
    return {
      query: async (text, parameters) => {
        const { rows, affectedRows } = await this.pglite.query(text, [...parameters]);
        return { rows, affected: affectedRows };
      },
      release: done,
    };
  }

  async close(): Promise<void> {
    await this.last;
    await this.pglite.close();
  }
}

class Connection implements DatabaseConnection {
  constructor(readonly session: SqlSession) {}
  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, affected } = await this.session.query(sql, parameters);
    return { rows: rows as R[], numAffectedRows: affected === undefined ? undefined : BigInt(affected) };
  }
  // biome-ignore lint/correctness/useYield: the interface asks for a generator, and nothing here streams
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error("streaming is not supported");
  }
}

class SourceDriver implements Driver {
  constructor(private readonly source: SqlSource) {}
  async init(): Promise<void> {}
  async acquireConnection(): Promise<Connection> {
    return new Connection(await this.source.acquire());
  }
  async beginTransaction({ session }: Connection): Promise<void> {
    await session.query("begin", []);
  }
  async commitTransaction({ session }: Connection): Promise<void> {
    await session.query("commit", []);
  }
  async rollbackTransaction({ session }: Connection): Promise<void> {
    await session.query("rollback", []);
  }
  async releaseConnection({ session }: Connection): Promise<void> {
    session.release();
  }
  async destroy(): Promise<void> {
    await this.source.close();
  }
}

/** The dialect that runs PostgreSQL's SQL over any source of sessions. */
export function sourceDialect(source: SqlSource) {
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new SourceDriver(source),
    createIntrospector: (db: Kysely<unknown>) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  };
}
