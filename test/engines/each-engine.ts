/** One block of tests for each engine, so that no test says which engines there are. */
import { join } from 'node:path';
import { after, describe } from 'node:test';
import SqliteFile from 'better-sqlite3';
import type { Database } from '../../src/engines/engine.ts';
import { createDatabase, runSql, type TestDatabase } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

export interface TestEngine {
  readonly name: 'SQLite' | 'PostgreSQL';
  /** An empty database. It is removed after the block of this engine, unless the test drops it before. */
  createDatabase(): Promise<EngineDatabase>;
}

export interface EngineDatabase extends TestDatabase {
  /** For `startService`, `startProcess` and commands. */
  readonly settings: { readonly DATABASE_URL: string };
  /** For `openEngine`. */
  readonly target: Database;
  /** The rows of a statement, past the server. */
  rows(sql: string): Promise<unknown[]>;
}

/** Calls `define` in a block for each engine: `describe('tokens', () => { eachEngine((engine) => { … }); });` */
export function eachEngine(define: (engine: TestEngine) => void): void {
  describeEngine({ name: 'SQLite', skip: false, create: createFile }, define);
  describeEngine({ name: 'PostgreSQL', skip: missing('PostgreSQL'), create: createPostgresDatabase }, define);
}

interface Kind {
  readonly name: TestEngine['name'];
  readonly skip: string | false;
  create(): Promise<EngineDatabase>;
}

function describeEngine({ name, skip, create }: Kind, define: (engine: TestEngine) => void): void {
  describe(name, { skip }, () => {
    const databases = new Set<EngineDatabase>();
    define({
      name,
      async createDatabase() {
        const database = await create();
        databases.add(database);
        return {
          ...database,
          async drop() {
            databases.delete(database);
            await database.drop();
          },
        };
      },
    });
    // Registered last: the block's own hooks, which close what uses the databases, have run.
    after(async () => {
      for (const database of databases) {
        await database.drop();
      }
    });
  });
}

/** A file in a directory of its own. */
function createFile(): Promise<EngineDatabase> {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'log.db');
  const url = `sqlite:${path}`;
  return Promise.resolve({
    url,
    settings: { DATABASE_URL: url },
    target: { kind: 'sqlite', path },
    rows(sql) {
      const file = new SqliteFile(path, { readonly: true });
      try {
        return Promise.resolve(file.prepare(sql).all());
      } finally {
        file.close();
      }
    },
    drop() {
      directory.remove();
      return Promise.resolve();
    },
  });
}

async function createPostgresDatabase(): Promise<EngineDatabase> {
  const { url, drop } = await createDatabase();
  return {
    url,
    settings: { DATABASE_URL: url },
    target: { kind: 'postgres', url, listenUrl: undefined },
    async rows(sql) {
      const rows: unknown[] = (await runSql(url, sql)).rows;
      return rows;
    },
    drop,
  };
}
