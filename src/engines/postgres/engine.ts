/**
 * The PostgreSQL engine (14 and later): any number of nodes over one database, with the same promises as the SQLite
 * file. Puts together the writer, the reader and the watch over the log.
 */
import { randomUUID } from 'node:crypto';
import knexFactory, { type Knex } from 'knex';
import pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { AppendResult, EventStore } from '../../log/store.ts';
import type { Engine } from '../engine.ts';
import { identityStore } from '../knex/identity.ts';
import { migrate, requireMigrated } from '../knex/migrate.ts';
import { createPostgresWriter } from './append.ts';
import { connect, connectionConfig, unavailable } from './connection.ts';
import { startPeers } from './peers.ts';
import { prunePostgres } from './prune.ts';
import { createPostgresReader } from './reader.ts';
import { type Seen, startWatch } from './watch.ts';

export interface PostgresOptions {
  readonly url: string;
  /** Direct address for LISTEN; `undefined` polls only. */
  readonly listenUrl?: string | undefined;
  readonly migrate?: boolean;
  readonly onError?: (error: unknown) => void;
  readonly onNotice?: (message: string) => void;
  /** Send a hint with each commit. Default true; false is for measuring its price. */
  readonly notify?: boolean;
}

const POOL_CONNECTIONS = 8;
const MIGRATE_LOCK = 4_793_211_003;

/** @throws ERR_STORE_UNAVAILABLE when the server cannot be reached, is not fit, or its schema does not fit */
export async function openPostgres(options: PostgresOptions): Promise<Engine> {
  const { url, onError = () => undefined, onNotice = () => undefined } = options;
  const knex = knexFor(url);
  try {
    await (options.migrate === false ? requireMigrated(knex) : migrateLocked(url, knex));
    await requireUtf8(knex);
  } catch (error) {
    await knex.destroy();
    throw notServed(error);
  }
  const pool = new pg.Pool({ ...connectionConfig(url), max: POOL_CONNECTIONS });
  // A connection that breaks while idle is replaced when the next is asked for.
  pool.on('error', () => undefined);
  const reader = createPostgresReader(pool);
  const { epoch, head: firstHead } = await reader.bounds();
  /** Committed for certain: what a page may report as covered. */
  let head = firstHead;
  let known = epoch;
  const nodeId = randomUUID();
  const wakeListeners = new Set<() => void>();
  const resetListeners = new Set<() => void>();

  const wake = (): void => {
    for (const listener of wakeListeners) {
      listener();
    }
  };
  const peers = startPeers(pool, nodeId, onError);
  const writer = createPostgresWriter({
    url,
    ...(options.notify === undefined ? {} : { notify: options.notify }),
    onHead: (to, of) => {
      if (of === known) {
        head = Math.max(head, to);
      }
    },
  });
  const watch = startWatch({
    pool,
    listenUrl: options.listenUrl,
    head: () => head,
    onSeen,
    onHint: wake,
    onAsk: peers.look,
    isOwn: (processId) => processId === writer.processId,
    onError,
    onNotice,
  });

  function onSeen(seen: Seen, headBefore: number): void {
    if (seen.epoch !== known || seen.head < headBefore) {
      // Another log stands here now: it was restored, or replaced.
      known = seen.epoch;
      head = seen.head;
      for (const listener of resetListeners) {
        listener();
      }
    } else if (seen.head > head) {
      wake();
    }
  }

  async function reading<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw unavailable(error);
    }
  }

  const store: EventStore = {
    async append(requests) {
      const answer = await writer.append(requests);
      if (!('pending' in answer)) {
        head = Math.max(head, lastOf(answer));
        return answer;
      }
      const later = async (): Promise<AppendResult> => {
        const result = await answer.pending;
        head = Math.max(head, lastOf(result));
        return result;
      };
      return { pending: later() };
    },
    bounds: () => reading(reader.bounds()),
    readFeed: (accessId, position, limit) => reading(reader.readFeed(accessId, position, limit, head)),
    async readLog(position, limit) {
      const events = await reading(reader.readLog(position, limit));
      head = Math.max(head, events.at(-1)?.position ?? 0);
      return events;
    },
    lastPosition: (accessId) => reading(reader.lastPosition(accessId)),
    async positionBefore(accessId, createdAt) {
      const { head: before } = await reading(reader.bounds());
      return (await reading(reader.positionBefore(accessId, createdAt))) ?? before;
    },
    prunedThrough: (accessId) => reading(reader.prunedThrough(accessId)),
    prune: (rule) => reading(prunePostgres(pool, rule)),
    onWake(listener) {
      wakeListeners.add(listener);
      return () => wakeListeners.delete(listener);
    },
    onReset(listener) {
      resetListeners.add(listener);
      return () => resetListeners.delete(listener);
    },
    async close() {
      await watch.stop();
      writer.close();
      await peers.stop();
      await pool.end();
      await knex.destroy();
    },
  };
  return { store, identity: identityStore(knex), peers };
}

/** Runs missing migrations and returns their names; of several nodes one does, and the others wait. */
export async function migratePostgres(url: string): Promise<string[]> {
  const knex = knexFor(url);
  try {
    return await migrateLocked(url, knex);
  } catch (error) {
    throw notServed(error);
  } finally {
    await knex.destroy();
  }
}

async function migrateLocked(url: string, knex: Knex): Promise<string[]> {
  // In a transaction, so that it also holds through a pooler; it ends with the connection, so nothing stays behind.
  const guard = await connect(url);
  try {
    const { rows } = await guard.query<{ server_version_num: string }>('show server_version_num');
    if (Number(rows[0]?.server_version_num) < 140_000) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'PostgreSQL 14 or later is needed');
    }
    await guard.query('begin');
    await lockForMigration(guard);
    // knex's own lock stays behind when a node dies while it migrates; under ours nobody else can hold it.
    if (await knex.schema.hasTable('knex_migrations_lock')) {
      await knex('knex_migrations_lock').update({ is_locked: 0 });
    }
    const ran = await migrate(knex);
    await guard.query('commit');
    return ran;
  } finally {
    await guard.end().catch(() => undefined);
  }
}

/** Waits as long as it takes: the node that migrates may have much to do. */
async function lockForMigration(guard: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await guard.query<{ got: boolean }>(
      `select pg_try_advisory_xact_lock(${MIGRATE_LOCK}) as got`,
    );
    if (rows[0]?.got === true) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
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
    `the database must be encoded in UTF8, and is in ${encoding}`,
  );
}

function knexFor(url: string): Knex {
  return knexFactory({
    client: 'pg',
    connection: url,
    pool: { min: 0, max: 2 },
    acquireConnectionTimeout: 10_000,
    // An error shows the statement without what was bound to it, which may be personal.
    compileSqlOnError: false,
  });
}

function notServed(error: unknown): LastseenError {
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

function lastOf(result: AppendResult): number {
  let last = 0;
  for (const outcome of result.outcomes) {
    if ('receipts' in outcome) {
      for (const receipt of outcome.receipts) {
        last = Math.max(last, receipt.position);
      }
    }
  }
  return last;
}
