/** Migrations of a PostgreSQL database: of several nodes that start at once one migrates, and the others wait. */
import knexFactory, { type Knex } from 'knex';
import type pg from 'pg';
import { LastseenError } from '../../errors.ts';
import { sleep, type Timers } from '../../runtime.ts';
import { migrate } from '../knex/migrate.ts';
import { connect, destroyConnection, endPool } from './connection.ts';
import { createKnexPool, postgresKnexConfig } from './knex.ts';
import { startServerWatch } from './server-watch.ts';

const MIGRATE_LOCK = 4_793_211_003;
const LOCK_PAUSE_MS = 200;

/** Runs missing migrations and returns their names; of several nodes one does, and the others wait. */
export async function migratePostgres(url: string, timers: Timers): Promise<string[]> {
  const pool = createKnexPool(url);
  const knex = knexFactory(postgresKnexConfig(pool));
  // A migration may be long: only the watch can tell it from one whose server stands still.
  const watch = startServerWatch({ url, runtime: { timers } });
  watch.onLost((_reason, serving) => {
    pool.dropConnections(serving);
  });
  try {
    return await migrateLocked(url, knex, timers);
  } catch (error) {
    throw notServed(error);
  } finally {
    watch.stop();
    await knex.destroy();
    await endPool(pool, timers);
  }
}

async function migrateLocked(url: string, knex: Knex, timers: Timers): Promise<string[]> {
  // A lock of a transaction also holds through a pooler, and ends with the connection.
  const guard = await connect(url);
  try {
    const { rows } = await guard.query<{ server_version_num: string }>('show server_version_num');
    if (Number(rows[0]?.server_version_num) < 140_000) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'PostgreSQL must be version 14 or later');
    }
    await guard.query('begin');
    await lockForMigration(guard, timers);
    // knex's own lock stays behind when a node dies while it migrates. Under our lock no other node can hold it.
    if (await knex.schema.hasTable('knex_migrations_lock')) {
      await knex('knex_migrations_lock').update({ is_locked: 0 });
    }
    const ran = await migrate(knex);
    await guard.query('commit');
    return ran;
  } finally {
    destroyConnection(guard);
  }
}

/** Waits without a limit: the node that migrates may need long. */
async function lockForMigration(guard: pg.Client, timers: Timers): Promise<void> {
  for (;;) {
    const { rows } = await guard.query<{ got: boolean }>(
      `select pg_try_advisory_xact_lock(${MIGRATE_LOCK}) as got`,
    );
    if (rows[0]?.got === true) {
      return;
    }
    await sleep(timers, LOCK_PAUSE_MS);
  }
}

/** An expected error for a server that cannot be used. */
export function notServed(error: unknown): LastseenError {
  if (error instanceof LastseenError) {
    return error;
  }
  const { code, message } = error as { code?: string; message?: string };
  return new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `the PostgreSQL of DATABASE_URL cannot be used: ${message === undefined || message === '' ? (code ?? 'no answer') : message}`,
    { cause: error },
  );
}
