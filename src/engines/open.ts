/** Opens databases by their address. The only file that knows both engines. */
import knexFactory, { type Knex } from 'knex';
import type { IdentityStores } from '../identity/stores.ts';
import type { Runtime } from '../runtime.ts';
import type { LogSource, LogTarget } from './archive.ts';
import type { Database, Engine, EngineOptions } from './engine.ts';
import { createIdentityStores } from './knex/identity.ts';
import { openPostgresSource, openPostgresTarget } from './postgres/archive.ts';
import { renewPostgresEpoch } from './postgres/backup.ts';
import { openPostgresEngine } from './postgres/engine.ts';
import { createKnexPool, postgresKnexConfig } from './postgres/knex.ts';
import { migratePostgres, type MigrationContext } from './postgres/migrate.ts';
import { openPostgresCheck } from './postgres/verify.ts';
import { openSqliteSource, openSqliteTarget } from './sqlite/archive.ts';
import { renewSqliteEpoch } from './sqlite/backup.ts';
import { openSqliteEngine } from './sqlite/engine.ts';
import { sqliteKnexConfig } from './sqlite/knex.ts';
import { migrateSqlite } from './sqlite/migrate.ts';
import { openSqliteCheck } from './sqlite/verify.ts';
import type { LogUnderCheck } from './verify.ts';

/** @throws ERR_STORE_LOCKED, ERR_STORE_UNAVAILABLE */
export function openEngine(database: Database, options: EngineOptions): Promise<Engine> {
  return database.kind === 'sqlite'
    ? openSqliteEngine({ ...options, path: database.path })
    : openPostgresEngine({ ...options, url: database.url, listenUrl: database.listenUrl });
}

/** Runs missing migrations and returns their names. @throws ERR_STORE_LOCKED, ERR_STORE_UNAVAILABLE */
export function migrateDatabase(database: Database, context: MigrationContext): Promise<string[]> {
  return database.kind === 'sqlite' ? migrateSqlite(database.path) : migratePostgres(database.url, context);
}

/** Opens a log to read it. A server may be running over it. @throws ERR_STORE_UNAVAILABLE */
export function openSource(database: Database, { timers }: Pick<Runtime, 'timers'>): Promise<LogSource> {
  return database.kind === 'sqlite'
    ? openSqliteSource(database.path, timers)
    : openPostgresSource(database.url);
}

/** Opens a log to check it. A server may be running over it. A file that is only read keeps no digests. */
export function openCheck(
  database: Database,
  options: { readonly isReadOnly: boolean },
): Promise<LogUnderCheck> {
  return database.kind === 'sqlite'
    ? Promise.resolve(openSqliteCheck(database.path, options))
    : openPostgresCheck(database.url);
}

/** Opens an empty log to fill it. @throws ERR_STORE_LOCKED while a server runs over it, ERR_REQUEST_INVALID when it is not empty */
export function openTarget(
  database: Database,
  runtime: Pick<Runtime, 'clock' | 'timers'>,
): Promise<LogTarget> {
  return database.kind === 'sqlite'
    ? openSqliteTarget(database.path, runtime)
    : openPostgresTarget(database.url, runtime);
}

/**
 * Gives the log a new epoch, so that every cursor given before is refused.
 * @throws ERR_STORE_LOCKED while a server runs over an SQLite file
 */
export async function renewEpoch(database: Database, { random }: Pick<Runtime, 'random'>): Promise<void> {
  if (database.kind === 'sqlite') {
    renewSqliteEpoch(database.path, random);
  } else {
    await renewPostgresEpoch(database.url, random);
  }
}

/** How the knex command line opens the database. Its connections end with the process. */
export function knexConfigOf(database: Database): Knex.Config {
  return database.kind === 'sqlite'
    ? sqliteKnexConfig(database.path)
    : postgresKnexConfig(createKnexPool(database.url, { isBackground: true }));
}

/** Opens the tables of identity without the log: servers may be running over them. */
export function openIdentity(database: Database): {
  readonly identity: IdentityStores;
  close(): Promise<void>;
} {
  if (database.kind === 'sqlite') {
    const knex = knexFactory(sqliteKnexConfig(database.path));
    return { identity: createIdentityStores(knex), close: () => knex.destroy() };
  }
  const pool = createKnexPool(database.url);
  const knex = knexFactory(postgresKnexConfig(pool));
  return {
    identity: createIdentityStores(knex),
    async close() {
      await knex.destroy();
      await pool.end();
    },
  };
}
