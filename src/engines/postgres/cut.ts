/** A cut of a PostgreSQL log: one snapshot, in a transaction that lasts as long as the export. */
import type pg from 'pg';
import { type Lineage, originOf } from '../../log/place.ts';
import {
  cutFailed,
  type KeyedBatch,
  type LogCut,
  type LogState,
  type PrunedFeed,
  type SegmentDigest,
  type Term,
} from '../archive.ts';
import { createPostgresReader } from './reader.ts';

const PAGE_EVENTS = 2_000;
const PAGE_BYTES = 8 * 1024 * 1024;
const PAGE_ROWS = 2_000;

/** On a connection of its own. */
export async function openPostgresCut(client: pg.Client): Promise<LogCut> {
  await client.query('begin isolation level repeatable read read only');
  // A slow output leaves the transaction idle between two pages.
  await client.query(`select set_config('idle_in_transaction_session_timeout', '0', true)`);
  const { rows } = await client.query<LogState & { headTag: number }>(
    'select epoch, floor, head, tagged_from as "taggedFrom", head_tag as "headTag" from log',
  );
  const [found] = rows;
  if (found === undefined) {
    throw new Error('the table log has no row: the database is incomplete');
  }
  const { headTag, ...start } = found;
  const lineage: Lineage = { epoch: start.epoch };
  const reader = createPostgresReader({
    pool: client,
    lineage,
    seen: () => originOf(lineage),
    onOtherHistory: () => cutFailed('another log has replaced this one during the export'),
  });
  let position = 0;

  /** Pages of a table in the order of its key, from the smallest key on. */
  async function* pagesOf<Row>(sql: string, first: string | number, keyOf: (row: Row) => string | number) {
    for (let after = first; ;) {
      const page = await client.query(sql, [after, PAGE_ROWS]);
      const read = page.rows as Row[];
      const last = read.at(-1);
      if (last === undefined) {
        return;
      }
      yield read as readonly Row[];
      after = keyOf(last);
    }
  }

  return {
    start,
    async next() {
      const events = await reader.readLog(position, { maxEvents: PAGE_EVENTS, maxBytes: PAGE_BYTES });
      const last = events.at(-1);
      if (last === undefined) {
        return undefined;
      }
      position = last.position;
      return { events, batches: [] };
    },
    end: () =>
      Promise.resolve({
        state: start,
        feeds: pagesOf<PrunedFeed>(
          `select feeds.access_id as "accessId",
                  coalesce((select version from events e where e.access_id = feeds.access_id
                            order by position desc limit 1), version) as version,
                  coalesce((select position from events e where e.access_id = feeds.access_id
                            order by position desc limit 1), position) as position,
                  pruned_version as "prunedVersion", pruned_position as "prunedPosition",
                  pruned_tag as "prunedTag"
           from feeds where access_id > $1 and pruned_version > 0 order by access_id limit $2`,
          '',
          ({ accessId }) => accessId,
        ),
        batches: pagesOf<KeyedBatch>(
          `select key, fingerprint, first_position as "firstPosition", last_position as "lastPosition", tag
           from batches where key > $1 order by key limit $2`,
          '',
          ({ key }) => key,
        ),
        terms: pagesOf<Term>(
          `select term, first_position as "firstPosition", opened_at as "openedAt", node
           from terms where term > $1 order by term limit $2`,
          0,
          ({ term }) => term,
        ),
        segments: pagesOf<SegmentDigest>(
          `select first_position as "firstPosition", last_position as "lastPosition", events, sha256,
                  checked_at as "checkedAt"
           from segments where first_position > $1 order by first_position limit $2`,
          0,
          ({ firstPosition }) => firstPosition,
        ),
      }),
    async confirm() {
      // After the snapshot: what the server holds now.
      await client.query('commit');
      const now = await client.query<{ is_held: boolean }>(
        'select epoch = $1 and lastseen_holds($2, $3) as is_held from log',
        [start.epoch, start.head, headTag],
      );
      if (now.rows[0]?.is_held !== true) {
        throw cutFailed('another log has replaced this one during the export');
      }
    },
  };
}
