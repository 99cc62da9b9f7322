/**
 * The PostgreSQL engine (14 and later): any number of nodes over one database, with the same promises as the SQLite
 * engine. Migrates the database, and puts together the store, the peers and the tables of identity.
 */
import knexFactory, { type Knex } from 'knex';
import { LastseenError } from '../../errors.ts';
import type { Engine, EngineOptions } from '../engine.ts';
import { createIdentityStores } from '../knex/identity.ts';
import { requireMigrated } from '../knex/migrate.ts';
import { refuseUnfinishedImport } from './archive.ts';
import { createPool, endPool } from './connection.ts';
import { createKnexPool, postgresKnexConfig } from './knex.ts';
import { migratePostgres, notServed } from './migrate.ts';
import { startPeers } from './peers.ts';
import { forgetOldWriters } from './prune.ts';
import { startServerWatch } from './server-watch.ts';
import { createPostgresStore } from './store.ts';

export interface PostgresEngineOptions extends EngineOptions {
  readonly url: string;
  /** Direct address for LISTEN; `undefined` polls only. */
  readonly listenUrl?: string | undefined;
  /** Send a notification with each commit. Default true; false is for measuring its price. */
  readonly notify?: boolean;
}

const POOL_CONNECTIONS = 8;

/** A statement of identity without an answer after this time has lost its server. */
const IDENTITY_TIMEOUT_MS = 15_000;

/** @throws ERR_STORE_UNAVAILABLE when the server cannot be reached, is too old, or has another schema */
export async function openPostgresEngine(options: PostgresEngineOptions): Promise<Engine> {
  const { url, runtime, onError = () => undefined, onNotice = () => undefined } = options;
  if (options.migrate !== false) {
    await migratePostgres(url, { timers: runtime.timers, onNotice });
  }
  const identityPool = createKnexPool(url, { queryTimeoutMs: IDENTITY_TIMEOUT_MS });
  const knex = knexFactory(postgresKnexConfig(identityPool));
  const pool = createPool(url, { max: POOL_CONNECTIONS, access: 'primary' });
  try {
    if (options.migrate === false) {
      await requireMigrated(knex);
    }
    await requireUtf8(knex);
    await forgetOldWriters(pool);
    await refuseUnfinishedImport(pool);
  } catch (error) {
    await knex.destroy();
    await identityPool.end();
    await pool.end();
    throw notServed(error);
  }
  const peers = startPeers({ pool, runtime, onError });
  const watch = startServerWatch({ url, runtime });
  watch.onLost((reason, serving) => {
    onNotice(`${reason}: all connections to it are closed, and open anew at the host that accepts writes`);
    pool.dropConnections(serving);
    identityPool.dropConnections(serving);
    if (serving !== undefined) {
      peers.shareAgain();
    }
  });
  async function release(): Promise<void> {
    watch.stop();
    await peers.stop();
    await endPool(pool, runtime.timers);
    await knex.destroy();
    await endPool(identityPool, runtime.timers);
  }
  const store = createPostgresStore({
    url,
    listenUrl: options.listenUrl,
    pool,
    runtime,
    nodeId: peers.nodeId,
    notify: options.notify ?? true,
    onServerLost: watch.onLost,
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
