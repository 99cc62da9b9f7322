/** A PostgreSQL log as `lastseen verify` reads it: each page in a short transaction with one snapshot. */
import { type Lineage, originOf } from '../../log/place.ts';
import type { LogState, PrunedFeed, SegmentDigest, Term } from '../archive.ts';
import { cutFailed } from '../archive.ts';
import type { BatchRow, FeedRow, LogUnderCheck } from '../verify.ts';
import { connect } from './connection.ts';
import { createPostgresReader } from './reader.ts';

const PAGE_EVENTS = 2_000;
const PAGE_BYTES = 8 * 1024 * 1024;
const PAGE_ROWS = 2_000;

export async function openPostgresCheck(url: string): Promise<LogUnderCheck> {
  const client = await connect(url, { access: 'any' });

  async function inSnapshot<T>(work: () => Promise<T>): Promise<T> {
    await client.query('begin isolation level repeatable read read only');
    try {
      return await work();
    } finally {
      await client.query('commit');
    }
  }

  async function state(): Promise<LogState & { readonly headTag: number }> {
    const { rows } = await client.query<LogState & { headTag: number }>(
      'select epoch, floor, head, tagged_from as "taggedFrom", head_tag as "headTag" from log',
    );
    const [found] = rows;
    if (found === undefined) {
      throw new Error('the table log has no row: the database is incomplete');
    }
    return found;
  }

  async function rowsOf<Row>(sql: string, values: readonly unknown[]): Promise<Row[]> {
    return (await client.query(sql, [...values])).rows as Row[];
  }

  const lineage: Lineage = { epoch: (await state()).epoch };
  const reader = createPostgresReader({
    pool: client,
    lineage,
    seen: () => originOf(lineage),
    onOtherHistory: () => cutFailed('another log has replaced this one during the check'),
  });

  return {
    page: (position) =>
      inSnapshot(async () => {
        const { headTag, ...bounds } = await state();
        const events = await reader.readLog(position, { maxEvents: PAGE_EVENTS, maxBytes: PAGE_BYTES });
        const marks = await rowsOf<Pick<PrunedFeed, 'accessId' | 'prunedVersion' | 'prunedPosition'>>(
          `select access_id as "accessId", pruned_version as "prunedVersion", pruned_position as "prunedPosition"
           from feeds where access_id = any($1) and pruned_version > 0`,
          [[...new Set(events.map(({ accessId }) => accessId))]],
        );
        const terms = await rowsOf<Term>(
          `select term, first_position as "firstPosition", opened_at as "openedAt", node from terms
           where first_position >= coalesce((select max(first_position) from terms where first_position <= $1), 0)
             and first_position <= $2
           order by first_position`,
          [events[0]?.position ?? 0, events.at(-1)?.position ?? 0],
        );
        return {
          state: bounds,
          headTag,
          events,
          marks: new Map(marks.map((mark) => [mark.accessId, mark])),
          terms,
        };
      }),
    feeds: (accessId) =>
      inSnapshot(async () => {
        const { head } = await state();
        const rows = await rowsOf<PrunedFeed & { lastAccessId: string | null; lastVersion: number | null }>(
          `select feeds.access_id as "accessId", feeds.version, feeds.position, pruned_version as "prunedVersion",
                  pruned_position as "prunedPosition", pruned_tag as "prunedTag",
                  events.access_id as "lastAccessId", events.version as "lastVersion"
           from feeds left join events on events.position = feeds.position
           where feeds.access_id > $1 order by feeds.access_id limit $2`,
          [accessId, PAGE_ROWS],
        );
        const feeds = rows.map(({ lastAccessId, lastVersion, ...feed }): FeedRow => {
          const isThere = lastAccessId !== null && lastVersion !== null;
          return { ...feed, last: isThere ? { accessId: lastAccessId, version: lastVersion } : undefined };
        });
        return { head, feeds };
      }),
    batches: (key) =>
      inSnapshot(async () => {
        const { head } = await state();
        const rows = await rowsOf<Omit<BatchRow, 'lastTag'> & { lastTag: number | null }>(
          `select key, fingerprint, first_position as "firstPosition", last_position as "lastPosition", batches.tag,
                  case when events.position is not null then coalesce(events.tag, 0) end as "lastTag"
           from batches left join events on events.position = batches.last_position
           where key > $1 order by key limit $2`,
          [key, PAGE_ROWS],
        );
        return { head, batches: rows.map((row) => ({ ...row, lastTag: row.lastTag ?? undefined })) };
      }),
    async prunedPosition(accessId) {
      const [mark] = await rowsOf<{ position: number }>(
        'select pruned_position as position from feeds where access_id = $1',
        [accessId],
      );
      return mark?.position ?? 0;
    },
    index: undefined,
    segments: () =>
      rowsOf<SegmentDigest>(
        `select first_position as "firstPosition", last_position as "lastPosition", events, sha256,
                checked_at as "checkedAt"
         from segments order by first_position`,
        [],
      ),
    async keep(segments, gone) {
      for (const { firstPosition, lastPosition, events, sha256, checkedAt } of segments) {
        await client.query(
          `insert into segments values ($1, $2, $3, $4, $5) on conflict (first_position) do update set
             last_position = excluded.last_position, events = excluded.events, sha256 = excluded.sha256,
             checked_at = excluded.checked_at`,
          [firstPosition, lastPosition, events, sha256, checkedAt],
        );
      }
      await client.query('delete from segments where first_position = any($1::bigint[])', [gone]);
    },
    close: () => client.end(),
  };
}
