/** A PostgreSQL database as the source and the target of a move: `lastseen export` and `lastseen import`. */
import { LastseenError } from '../../errors.ts';
import { type Lineage, originOf, type Place } from '../../log/place.ts';
import type { Timers } from '../../runtime.ts';
import type { KeyedBatch, LogSource, LogState, LogTarget, PrunedFeed, Term } from '../archive.ts';
import { insertEvents } from './columns.ts';
import { connect, createPool } from './connection.ts';
import { migratePostgres } from './migrate.ts';
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
    async feeds(accessId, limit) {
      const { rows } = await pool.query<PrunedFeed>(
        `select feeds.access_id as "accessId",
                coalesce((select version from events e where e.access_id = feeds.access_id
                          order by position desc limit 1), version) as version,
                coalesce((select position from events e where e.access_id = feeds.access_id
                          order by position desc limit 1), position) as position,
                pruned_version as "prunedVersion", pruned_position as "prunedPosition",
                pruned_tag as "prunedTag"
         from feeds where access_id > $1 and pruned_version > 0 order by access_id limit $2`,
        [accessId, limit],
      );
      return rows;
    },
    async batches(key, limit) {
      const { rows } = await pool.query<KeyedBatch>(
        `select key, fingerprint, first_position as "firstPosition", last_position as "lastPosition", tag
         from batches where key > $1 order by key limit $2`,
        [key, limit],
      );
      return rows;
    },
    async terms(term, limit) {
      const { rows } = await pool.query<Term>(
        `select term, first_position as "firstPosition", opened_at as "openedAt", node
         from terms where term > $1 order by term limit $2`,
        [term, limit],
      );
      return rows;
    },
    close: () => pool.end(),
  };
}

export async function openPostgresTarget(url: string, timers: Timers): Promise<LogTarget> {
  await migratePostgres(url, { timers });
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
  // An archive of the first version has events without tags; the commit sets where tags begin.
  await client.query(`update log set tagged_from = ${Number.MAX_SAFE_INTEGER}`);
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
    async commit(state) {
      await client.query(
        `update log set epoch = $1, floor = $2, head = $3, tagged_from = $4,
           head_tag = coalesce((select tag from events where position = $3),
             (select pruned_tag from feeds where pruned_position = $3), 0)`,
        [state.epoch, state.floor, state.head, state.taggedFrom],
      );
      await client.query('commit');
    },
    close,
  };
}
