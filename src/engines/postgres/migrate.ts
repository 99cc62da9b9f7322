/** Migrations of a PostgreSQL database: of several nodes that start at once one migrates, and the others wait. */
import knexFactory, { type Knex } from 'knex';
import type pg from 'pg';
import { LastseenError } from '../../errors.ts';
import { sleep, type Timers } from '../../runtime.ts';
import { isUpgrade, migrate } from '../knex/migrate.ts';
import { connect, destroyConnection, endPool } from './connection.ts';
import { createKnexPool, postgresKnexConfig } from './knex.ts';
import { startServerWatch } from './server-watch.ts';

const MIGRATE_LOCK = 4_793_211_003;
const LOCK_PAUSE_MS = 200;
const UPGRADE_PAUSE_MS = 500;

export interface MigrationContext {
  readonly timers: Timers;
  /** Receives the reason if the migration has to wait. */
  readonly onNotice?: (message: string) => void;
}

/** Runs missing migrations and returns their names; of several nodes one does, and the others wait. */
export async function migratePostgres(url: string, context: MigrationContext): Promise<string[]> {
  const pool = createKnexPool(url);
  const knex = knexFactory(postgresKnexConfig(pool));
  // A migration may be long: only the watch can tell it from one whose server stands still.
  const watch = startServerWatch({ url, runtime: context });
  watch.onLost((_reason, serving) => {
    pool.dropConnections(serving);
  });
  try {
    return await migrateLocked(url, knex, context);
  } catch (error) {
    throw notServed(error);
  } finally {
    watch.stop();
    await knex.destroy();
    await endPool(pool, context.timers);
  }
}

async function migrateLocked(url: string, knex: Knex, context: MigrationContext): Promise<string[]> {
  // A lock of a transaction also holds through a pooler, and ends with the connection.
  const guard = await connect(url);
  try {
    const { rows } = await guard.query<{ server_version_num: string }>('show server_version_num');
    if (Number(rows[0]?.server_version_num) < 140_000) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'PostgreSQL must be version 14 or later');
    }
    await guard.query('begin');
    await lockForMigration(guard, context.timers);
    if (await isUpgrade(knex)) {
      await waitForOldNodes(guard, context);
    }
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

/**
 * Waits, without a limit, until no node of the release before is alive: it could not work on the new schema. A node
 * updates its row every 2 s, and counts as dead after 10 s.
 */
async function waitForOldNodes(guard: pg.Client, { timers, onNotice }: MigrationContext): Promise<void> {
  let hasNoticed = false;
  for (;;) {
    const { rows } = await guard.query<{ count: number }>(
      `select count(*) from nodes where seen_at > clock_timestamp() - interval '10 seconds'`,
    );
    const count = rows[0]?.count ?? 0;
    if (count === 0) {
      return;
    }
    if (!hasNoticed) {
      onNotice?.(
        `the migration waits until the nodes of the earlier release have stopped: ${count} are alive`,
      );
    }
    hasNoticed = true;
    await sleep(timers, UPGRADE_PAUSE_MS);
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
