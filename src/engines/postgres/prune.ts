/**
 * Pruning on PostgreSQL, 1,000 events a transaction, of one feed or of many. Each transaction first records in `feeds`
 * what a feed loses, then deletes it: the trigger on `events` refuses any other deletion. It moves the floor under the
 * append lock, so that no event is appended between the look and the change, and deletes a batch's key only when all
 * events of the batch are gone (G5). Of two nodes that prune at once, the second waits for the lock. Ages are by the clock
 * of the database: the clocks of nodes do not matter.
 */
import type pg from 'pg';
import { RetentionRefused } from '../../log/retention.ts';
import type { PruneRule } from '../../log/store.ts';
import { type ClockVerdict, judgeClock } from '../retention-clock.ts';
import { APPEND_LOCK } from './settle.ts';

const STEP_EVENTS = 1_000;
const PRUNE_LOCK = 4_793_211_002;

/** Marks the events that `selection` selects as pruned in their feeds, and returns their positions. */
const markPruned = (selection: string): string => `
  with prunable as (${selection}),
  lost as (
    select access_id, max(version) as version, max(position) as position,
           (array_agg(coalesce(tag, 0) order by position desc))[1] as tag
    from prunable group by access_id
  ),
  marked as (
    insert into feeds (access_id, version, position, pruned_version, pruned_position, pruned_tag)
    select access_id, version, position, version, position, tag from lost order by access_id
    on conflict (access_id) do update set
      version = greatest(feeds.version, excluded.version),
      position = greatest(feeds.position, excluded.position),
      pruned_version = greatest(feeds.pruned_version, excluded.pruned_version),
      pruned_position = greatest(feeds.pruned_position, excluded.pruned_position),
      pruned_tag = case when excluded.pruned_position > feeds.pruned_position
        then excluded.pruned_tag else feeds.pruned_tag end
    returning 1
  )
  select (select count(*) from marked) as feeds, array_agg(position) as positions from prunable`;

const MARK_OF_LOG = markPruned(
  `select position, access_id, version, tag from events where position <= $1 order by position limit ${STEP_EVENTS}`,
);

const MARK_OF_FEEDS = markPruned(
  `select events.position, events.access_id, events.version, events.tag
   from unnest($1::text[], $2::bigint[]) as long_feed (access_id, version)
   cross join lateral (
     select position, access_id, version, tag from events
     where access_id = long_feed.access_id and version <= long_feed.version
     order by position limit ${STEP_EVENTS}
   ) as events limit ${STEP_EVENTS}`,
);

/**
 * Returns the number of events deleted. `signal` ends the work after the present step.
 * @throws RetentionRefused
 */
export async function prunePostgres(pool: pg.Pool, rule: PruneRule, signal?: AbortSignal): Promise<number> {
  let total = 0;
  let refused: string | undefined;
  if (rule.through !== undefined) {
    total += await pruneInSteps(pool, { sql: MARK_OF_LOG, values: [rule.through] }, signal);
  }
  if (rule.recordedBefore !== undefined) {
    const { now } = await readClock(pool);
    total += await pruneOld(pool, { recordedBefore: rule.recordedBefore, now }, signal);
  }
  if (rule.maxAgeMs !== undefined) {
    const reading = await readClock(pool);
    const { now } = reading;
    const verdict: ClockVerdict =
      rule.trustsClock === true ? { seenAt: now } : judgeClock({ ...reading, maxAgeMs: rule.maxAgeMs });
    await pool.query(
      'insert into retention values (1, $1) on conflict (id) do update set seen_at = excluded.seen_at',
      [verdict.seenAt],
    );
    refused = verdict.refused;
    if (refused === undefined) {
      total += await pruneOld(pool, { recordedBefore: now - rule.maxAgeMs, now }, signal);
    }
  }
  if (rule.keepPerAccessId !== undefined) {
    total += await pruneLongFeeds(pool, rule.keepPerAccessId, signal);
  }
  if (refused !== undefined) {
    throw new RetentionRefused(refused, total);
  }
  return total;
}

interface DatabaseClock {
  readonly now: number;
  readonly seenAt: number | undefined;
  readonly newestRecordedAt: number | undefined;
}

/** The newest time is searched among the latest events: one from the future does not hide those before it. */
const SELECT_CLOCK = `
  with clock as (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now)
  select now, (select seen_at from retention) as seen_at,
         (select recorded_at from (select position, recorded_at from events order by position desc limit 1000) as latest
          where recorded_at <= now order by position desc limit 1) as newest
  from clock`;

async function readClock(pool: pg.Pool): Promise<DatabaseClock> {
  const { rows } = await pool.query<{ now: number; seen_at: number | null; newest: number | null }>(
    SELECT_CLOCK,
  );
  const [row] = rows;
  if (row === undefined) {
    throw new Error('the query of the clock returned no row');
  }
  return { now: row.now, seenAt: row.seen_at ?? undefined, newestRecordedAt: row.newest ?? undefined };
}

/**
 * Deletes the events recorded before a time, without a gap from the oldest on. An event whose time is after `now` says
 * nothing: it goes with the event after it.
 */
async function pruneOld(
  pool: pg.Pool,
  { recordedBefore, now }: { readonly recordedBefore: number; readonly now: number },
  signal: AbortSignal | undefined,
): Promise<number> {
  let total = 0;
  let after = 0;
  for (let isOver = false; !isOver && signal?.aborted !== true;) {
    const { rows } = await pool.query<{ position: number; recorded_at: number }>(
      `select position, recorded_at from events where position > $1 order by position limit ${STEP_EVENTS}`,
      [after],
    );
    isOver = rows.length < STEP_EVENTS;
    let through = 0;
    for (const row of rows) {
      after = row.position;
      if (row.recorded_at < recordedBefore) {
        through = row.position;
      } else if (row.recorded_at <= now) {
        isOver = true;
        break;
      }
    }
    if (through > 0) {
      total += await pruneInSteps(pool, { sql: MARK_OF_LOG, values: [through] }, signal);
    }
  }
  return total;
}

const FEEDS_PER_PAGE = 5_000;

/** Feeds of one statement. */
const FEEDS_PER_STEP = 500;

/** Steps from name to name through the index: one look-up a feed, whatever the number of its events. */
const SELECT_FEEDS = `
  with recursive names as (
    (select access_id from events where access_id > $1 order by access_id limit 1)
    union all
    select (select access_id from events where access_id > names.access_id order by access_id limit 1)
    from names where access_id is not null
  )
  select access_id,
         (select version from events e where e.access_id = names.access_id order by position desc limit 1) as version,
         coalesce((select pruned_version from feeds f where f.access_id = names.access_id), 0) as pruned_version
  from names where access_id is not null limit ${FEEDS_PER_PAGE}`;

/** Deletes the oldest events of each feed that has more than `keep`. One transaction takes those of many feeds. */
async function pruneLongFeeds(pool: pg.Pool, keep: number, signal: AbortSignal | undefined): Promise<number> {
  let total = 0;
  for (let after = ''; signal?.aborted !== true;) {
    const { rows } = await pool.query<{ access_id: string; version: number; pruned_version: number }>(
      SELECT_FEEDS,
      [after],
    );
    const long = rows.filter((row) => row.version - row.pruned_version > keep);
    for (let from = 0; from < long.length; from += FEEDS_PER_STEP) {
      const feeds = long.slice(from, from + FEEDS_PER_STEP);
      const values = [feeds.map((row) => row.access_id), feeds.map((row) => row.version - keep)];
      total += await pruneInSteps(pool, { sql: MARK_OF_FEEDS, values }, signal);
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < FEEDS_PER_PAGE) {
      break;
    }
    after = last.access_id;
  }
  return total;
}

interface Mark {
  readonly sql: string;
  readonly values: readonly unknown[];
}

async function pruneInSteps(pool: pg.Pool, mark: Mark, signal: AbortSignal | undefined): Promise<number> {
  let total = 0;
  for (let count = STEP_EVENTS; count >= STEP_EVENTS && signal?.aborted !== true;) {
    count = await pruneStep(pool, mark);
    total += count;
  }
  return total;
}

async function pruneStep(pool: pg.Pool, { sql, values }: Mark): Promise<number> {
  const client = await pool.connect();
  try {
    await client.query(`begin; select pg_advisory_xact_lock(${PRUNE_LOCK})`);
    const marked = await client.query<{ positions: number[] | null }>(sql, [...values]);
    const positions = (marked.rows[0]?.positions ?? []).map(Number);
    if (positions.length > 0) {
      // A statement of its own: the trigger must see the marks of the statement before.
      await client.query('delete from events where position = any($1::bigint[])', [positions]);
      await client.query(`select pg_advisory_xact_lock(${APPEND_LOCK})`);
      // A statement after the lock sees every event that was appended before it.
      await client.query(
        `update log set floor = greatest(floor, coalesce((select min(position) from events), head + 1))`,
      );
      await client.query('delete from batches where last_position < (select floor from log)');
    }
    await client.query('commit');
    client.release();
    return positions.length;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/** A commit whose answer was lost is looked for within seconds. Its node may stand still meanwhile. */
const KEEP_WRITERS = '30 days';

/** Deletes the names of connections that have appended nothing for 30 days. */
export async function forgetOldWriters(pool: pg.Pool): Promise<void> {
  await pool.query(`delete from writers where seen_at < now() - interval '${KEEP_WRITERS}'`);
}
