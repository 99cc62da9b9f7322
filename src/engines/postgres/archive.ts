/** A PostgreSQL database as the source and the target of a move: `lastseen export` and `lastseen import`. */
import type pg from 'pg';
import { LastseenError } from '../../errors.ts';
import { type Lineage, originOf, type Place } from '../../log/place.ts';
import type { Runtime } from '../../runtime.ts';
import {
  importUnfinished,
  type LogCut,
  type LogSource,
  type LogState,
  type LogTarget,
  notEmpty,
  outOfBounds,
  PENDING_IMPORT_TABLE,
} from '../archive.ts';
import { insertEvents } from './columns.ts';
import { connect, createPool } from './connection.ts';
import { openPostgresCut } from './cut.ts';
import { migratePostgres, notServed } from './migrate.ts';
import { createPostgresReader } from './reader.ts';
import { APPEND_LOCK } from './settle.ts';

const PAGE_BYTES = 8 * 1024 * 1024;

export async function openPostgresSource(url: string): Promise<LogSource> {
  // With one host, a standby will do: an export only reads.
  const pool = createPool(url, { max: 1, access: 'any' });
  async function state(): Promise<LogState> {
    const { rows } = await pool.query<LogState>(
      'select epoch, floor, head, tagged_from as "taggedFrom" from log',
    );
    const [found] = rows;
    if (found === undefined) {
      throw new LastseenError(
        'ERR_STORE_UNAVAILABLE',
        'the table log has no row: the database is incomplete',
      );
    }
    return found;
  }

  const lineage: Lineage = { epoch: (await state()).epoch };
  const origin = originOf(lineage);
  const reader = createPostgresReader({
    pool,
    lineage,
    seen: () => origin,
    onOtherHistory: () =>
      new LastseenError('ERR_CURSOR_EPOCH', 'another log replaced this one meanwhile: start again'),
  });

  /** The newest mark of these access_ids, and the one at `position` if there is one. */
  async function marksOf(accessIds: readonly string[], position: number): Promise<Place[]> {
    const { rows } = await pool.query<{ position: number; tag: number }>(
      `with marks as (
         select pruned_position as position, pruned_tag as tag from feeds
         where pruned_position > 0 and (cardinality($1::text[]) = 0 or access_id = any($1)))
       select * from marks where position = (select max(position) from marks) or position = $2
       order by position desc`,
      [accessIds, position],
    );
    return rows.map((row) => ({ lineage, position: row.position, tag: row.tag }));
  }

  /** Closed with the source. */
  const cuts: pg.Client[] = [];

  async function openCut(): Promise<LogCut> {
    const client = await connect(url, { access: 'any' });
    cuts.push(client);
    return openPostgresCut(client);
  }

  return {
    lineage,
    state,
    events: (position, limit) => reader.readLog(position, { maxEvents: limit, maxBytes: PAGE_BYTES }),
    eventsOf: (accessIds, { after, through, limit }) =>
      reader.readLogOf(accessIds, { after, through, maxEvents: limit, maxBytes: PAGE_BYTES }),
    prunedThrough: async (accessIds) => (await marksOf(accessIds, 0))[0] ?? origin,
    async cursorFacts(accessIds, cursor) {
      const facts = await reader.cursorFacts([], cursor);
      return { ...facts, marks: await marksOf(accessIds, cursor.position) };
    },
    async placeAt(position) {
      const { rows } = await pool.query<{ position: number; tag: number }>(
        `select position, coalesce(tag, 0) as tag from events where position <= $1
         order by position desc limit 1`,
        [position],
      );
      return rows[0] === undefined ? origin : { lineage, position: rows[0].position, tag: rows[0].tag };
    },
    cut: openCut,
    async close() {
      await Promise.all(cuts.map((client) => client.end()));
      await pool.end();
    },
  };
}

export async function openPostgresTarget(
  url: string,
  { clock, timers }: Pick<Runtime, 'clock' | 'timers'>,
): Promise<LogTarget> {
  const marker = await connect(url);
  const client = await connect(url);
  try {
    await refuseEvents(marker);
    // A server that starts after a crash finds the mark.
    await marker.query(PENDING_IMPORT_TABLE);
    await marker.query(
      'insert into pending_import values (1, $1) on conflict (id) do update set started_at = $1',
      [clock.now()],
    );
    await migratePostgres(url, { timers });
    // The lock keeps nodes from appending meanwhile.
    await client.query(`begin; select pg_advisory_xact_lock(${APPEND_LOCK})`);
    await refuseEvents(client).catch(async (error: unknown) => {
      await marker.query('delete from pending_import');
      throw error;
    });
    // An archive of the first version has events without tags; the commit sets where tags begin.
    await client.query(`update log set tagged_from = ${Number.MAX_SAFE_INTEGER}`);
  } catch (error) {
    await client.end();
    await marker.end();
    throw notServed(error);
  }
  let isCommitted = false;

  return {
    events: (events) => insertEvents(client, events),
    async feeds(feeds) {
      for (const feed of feeds) {
        await client.query('insert into feeds values ($1, $2, $3, $4, $5, $6)', [
          feed.accessId,
          feed.version,
          feed.position,
          feed.prunedVersion,
          feed.prunedPosition,
          feed.prunedTag,
        ]);
        if (feed.supersededFrom !== undefined) {
          await client.query('delete from events where access_id = $1 and position between $2 and $3', [
            feed.accessId,
            feed.supersededFrom,
            feed.prunedPosition,
          ]);
        }
      }
    },
    async batches(batches) {
      for (const batch of batches) {
        await client.query('insert into batches values ($1, $2, $3, $4, $5)', [
          batch.key,
          batch.fingerprint,
          batch.firstPosition,
          batch.lastPosition,
          batch.tag,
        ]);
      }
    },
    async terms(terms) {
      for (const { term, firstPosition, openedAt, node } of terms) {
        await client.query('insert into terms values ($1, $2, $3, $4)', [
          term,
          firstPosition,
          openedAt,
          node,
        ]);
      }
    },
    async segments(segments) {
      for (const { firstPosition, lastPosition, events, sha256, checkedAt } of segments) {
        await client.query('insert into segments values ($1, $2, $3, $4, $5)', [
          firstPosition,
          lastPosition,
          events,
          sha256,
          checkedAt,
        ]);
      }
    },
    async commit(state) {
      const outside = await client.query<{ position: number }>(
        'select position from events where position < $1 or position > $2 order by position limit 1',
        [state.floor, state.head],
      );
      const [event] = outside.rows;
      if (event !== undefined) {
        throw outOfBounds(event.position, state);
      }
      await client.query(
        `update log set epoch = $1, floor = $2, head = $3, tagged_from = $4,
           head_tag = coalesce((select tag from events where position = $3),
             (select pruned_tag from feeds where pruned_position = $3), 0)`,
        [state.epoch, state.floor, state.head, state.taggedFrom],
      );
      await client.query('delete from pending_import');
      await client.query('commit');
      isCommitted = true;
    },
    async close() {
      try {
        if (!isCommitted) {
          await client.query('rollback');
          await marker.query('delete from pending_import');
        }
      } finally {
        await client.end();
        await marker.end();
      }
    },
  };
}

/** @throws ERR_REQUEST_INVALID if the database has a log with events, or with a past */
async function refuseEvents(connection: pg.Client): Promise<void> {
  const { rows } = await connection.query(`select 1 where to_regclass('log') is not null`);
  if (rows.length === 0) {
    return;
  }
  const log = await connection.query<{ floor: number; head: number }>('select floor, head from log');
  if (log.rows[0]?.floor !== 1 || log.rows[0].head !== 0) {
    throw notEmpty('the database');
  }
}

/** @throws ERR_STORE_UNAVAILABLE when an import into the database did not finish */
export async function refuseUnfinishedImport(connection: Pick<pg.Pool, 'query'>): Promise<void> {
  const { rows } = await connection.query('select 1 from pending_import');
  if (rows.length > 0) {
    throw importUnfinished('the database');
  }
}
