/**
 * The PostgreSQL engine (14 and later): any number of nodes over one database, with the same promises as the SQLite
 * engine. Migrates the database, and puts together the store, the peers and the tables of identity.
 */
import knexFactory, { type Knex } from 'knex';
import pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { Engine, EngineOptions } from '../engine.ts';
import { createIdentityStores } from '../knex/identity.ts';
import { requireMigrated } from '../knex/migrate.ts';
import { connectionConfig } from './connection.ts';
import { postgresKnexConfig } from './knex.ts';
import { migrateLocked, notServed } from './migrate.ts';
import { startPeers } from './peers.ts';
import { forgetOldWriters } from './prune.ts';
import { openPostgresStore } from './store.ts';

export interface PostgresEngineOptions extends EngineOptions {
  readonly url: string;
  /** Direct address for LISTEN; `undefined` polls only. */
  readonly listenUrl?: string | undefined;
  /** Send a notification with each commit. Default true; false is for measuring its price. */
  readonly notify?: boolean;
}

const POOL_CONNECTIONS = 8;

/** @throws ERR_STORE_UNAVAILABLE when the server cannot be reached, is too old, or has another schema */
export async function openPostgresEngine(options: PostgresEngineOptions): Promise<Engine> {
  const { url, runtime, onError = () => undefined, onNotice = () => undefined } = options;
  const knex = knexFactory(postgresKnexConfig(url));
  try {
    await (options.migrate === false ? requireMigrated(knex) : migrateLocked(url, knex, runtime.timers));
    await requireUtf8(knex);
  } catch (error) {
    await knex.destroy();
    throw notServed(error);
  }
  const pool = new pg.Pool({ ...connectionConfig(url), max: POOL_CONNECTIONS });
  // A connection that breaks while idle is replaced when the next is asked for.
  pool.on('error', () => undefined);
  const peers = startPeers({ pool, runtime, onError });
  async function release(): Promise<void> {
    await peers.stop();
    await pool.end();
    await knex.destroy();
  }
  try {
    await forgetOldWriters(pool);
    const store = await openPostgresStore({
      url,
      listenUrl: options.listenUrl,
      pool,
      runtime,
      notify: options.notify ?? true,
      onPeers: peers.refresh,
      onError,
      onNotice,
    });
    return {
      store: {
        ...store,
        async close() {
          await store.close();
          await release();
        },
      },
      identity: createIdentityStores(knex),
      peers,
    };
  } catch (error) {
    await release();
    throw notServed(error);
  }
}

async function requireUtf8(knex: Knex): Promise<void> {
  const { rows } = await knex.raw<{ rows: { server_encoding: string }[] }>('show server_encoding');
  const encoding = rows[0]?.server_encoding;
  if (encoding === 'UTF8') {
    return;
  }
  throw new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `the database must have the encoding UTF8, got ${encoding}`,
  );
}
