/**
 * Pruning on PostgreSQL, 1,000 events a transaction. Each transaction first records in `feeds` what a feed loses, then
 * deletes it: the trigger on `events` refuses any other deletion. Of two nodes that prune at once, the second waits for
 * the lock.
 */
import type pg from 'pg';
import type { PruneRule } from '../../log/store.ts';

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
  `select position, access_id, version, tag from (
     select position, access_id, version, tag,
            bool_and(position <= $1 or recorded_at < $2) over (order by position) as is_prunable
     from (select * from events order by position limit ${STEP_EVENTS}) as step
   ) as judged where is_prunable`,
);

const MARK_OF_FEED = markPruned(
  `select position, access_id, version, tag from events
   where access_id = $1 and version <= $2 order by position limit ${STEP_EVENTS}`,
);

/** Returns the number of events deleted. */
export async function prunePostgres(pool: pg.Pool, rule: PruneRule): Promise<number> {
  let total = 0;
  if (rule.through !== undefined || rule.recordedBefore !== undefined) {
    const bounds = [rule.through ?? 0, rule.recordedBefore ?? Number.MIN_SAFE_INTEGER];
    total += await pruneInSteps(pool, MARK_OF_LOG, bounds);
  }
  const keep = rule.keepPerAccessId;
  if (keep !== undefined) {
    for (const [accessId, version] of await findLongFeeds(pool, keep)) {
      total += await pruneInSteps(pool, MARK_OF_FEED, [accessId, version - keep]);
    }
  }
  return total;
}

const FEEDS_PER_PAGE = 5_000;

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

/** Feeds with more events than the rule keeps, and their last version. */
async function findLongFeeds(pool: pg.Pool, keep: number): Promise<[accessId: string, version: number][]> {
  const feeds: [string, number][] = [];
  let after = '';
  for (;;) {
    const { rows } = await pool.query<{ access_id: string; version: number; pruned_version: number }>(
      SELECT_FEEDS,
      [after],
    );
    for (const row of rows) {
      if (row.version - row.pruned_version > keep) {
        feeds.push([row.access_id, row.version]);
      }
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < FEEDS_PER_PAGE) {
      return feeds;
    }
    after = last.access_id;
  }
}

async function pruneInSteps(pool: pg.Pool, markSql: string, values: readonly unknown[]): Promise<number> {
  let total = 0;
  for (;;) {
    const count = await pruneStep(pool, markSql, values);
    total += count;
    if (count < STEP_EVENTS) {
      return total;
    }
  }
}

async function pruneStep(pool: pg.Pool, markSql: string, values: readonly unknown[]): Promise<number> {
  const client = await pool.connect();
  try {
    await client.query(`begin; select pg_advisory_xact_lock(${PRUNE_LOCK})`);
    const marked = await client.query<{ positions: number[] | null }>(markSql, [...values]);
    const positions = (marked.rows[0]?.positions ?? []).map(Number);
    if (positions.length > 0) {
      // A statement of its own: the trigger must see the marks of the statement before.
      await client.query('delete from events where position = any($1::bigint[])', [positions]);
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
