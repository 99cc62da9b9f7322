/** A PostgreSQL database as the source and the target of a move: `lastseen export` and `lastseen import`. */
import { LastseenError } from '../../errors.ts';
import type { Timers } from '../../runtime.ts';
import type { KeyedBatch, LogSource, LogTarget, PrunedFeed } from '../archive.ts';
import { insertEvents } from './columns.ts';
import { connect, createPool } from './connection.ts';
import { migratePostgres } from './migrate.ts';
import { createPostgresReader } from './reader.ts';
import { APPEND_LOCK } from './settle.ts';

const PAGE_BYTES = 8 * 1024 * 1024;

export function openPostgresSource(url: string): Promise<LogSource> {
  // With one host, a standby will do: an export only reads.
  const pool = createPool(url, { max: 1, access: 'any' });
  const reader = createPostgresReader(pool);
  return Promise.resolve({
    state: () => reader.bounds(),
    events: (position, limit) => reader.readLog(position, { maxEvents: limit, maxBytes: PAGE_BYTES }),
    eventsOf: (accessIds, { after, through, limit }) =>
      reader.readLogOf(accessIds, { after, through, maxEvents: limit, maxBytes: PAGE_BYTES }),
    async prunedThrough(accessIds) {
      const { rows } = await pool.query<{ position: number | null }>(
        `select max(pruned_position) as position from feeds
         where cardinality($1::text[]) = 0 or access_id = any($1)`,
        [accessIds],
      );
      return rows[0]?.position ?? 0;
    },
    async feeds(accessId, limit) {
      const { rows } = await pool.query<PrunedFeed>(
        `select feeds.access_id as "accessId",
                coalesce((select version from events e where e.access_id = feeds.access_id
                          order by position desc limit 1), version) as version,
                coalesce((select position from events e where e.access_id = feeds.access_id
                          order by position desc limit 1), position) as position,
                pruned_version as "prunedVersion", pruned_position as "prunedPosition"
         from feeds where access_id > $1 and pruned_version > 0 order by access_id limit $2`,
        [accessId, limit],
      );
      return rows;
    },
    async batches(key, limit) {
      const { rows } = await pool.query<KeyedBatch>(
        `select key, fingerprint, first_position as "firstPosition", last_position as "lastPosition"
         from batches where key > $1 order by key limit $2`,
        [key, limit],
      );
      return rows;
    },
    close: () => pool.end(),
  });
}

export async function openPostgresTarget(url: string, timers: Timers): Promise<LogTarget> {
  await migratePostgres(url, timers);
  const client = await connect(url);
  const close = async (): Promise<void> => {
    await client.end();
  };
  // The lock keeps nodes from appending meanwhile.
  await client.query(`begin; select pg_advisory_xact_lock(${APPEND_LOCK})`);
  const { rows } = await client.query<{ floor: number; head: number }>('select floor, head from log');
  if (rows[0]?.floor !== 1 || rows[0].head !== 0) {
    await close();
    const message = 'the database is not empty: import a log into a new database';
    throw new LastseenError('ERR_REQUEST_INVALID', message);
  }
  return {
    events: (events) => insertEvents(client, events),
    async feeds(feeds) {
      for (const feed of feeds) {
        await client.query('insert into feeds values ($1, $2, $3, $4, $5)', [
          feed.accessId,
          feed.version,
          feed.position,
          feed.prunedVersion,
          feed.prunedPosition,
        ]);
      }
    },
    async batches(batches) {
      for (const batch of batches) {
        await client.query('insert into batches values ($1, $2, $3, $4)', [
          batch.key,
          batch.fingerprint,
          batch.firstPosition,
          batch.lastPosition,
        ]);
      }
    },
    async commit(state) {
      await client.query('update log set epoch = $1, floor = $2, head = $3', [
        state.epoch,
        state.floor,
        state.head,
      ]);
      await client.query('commit');
    },
    close,
  };
}
