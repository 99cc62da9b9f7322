/**
 * Forgetting on PostgreSQL, a thousand events a transaction. What a feed has lost is written before it is deleted:
 * the trigger on `events` lets go of nothing else. Two nodes may prune at once: the second waits for the lock.
 */
import type pg from 'pg';
import type { PruneRule } from '../../log/store.ts';

const STEP_EVENTS = 1_000;
const PRUNE_LOCK = 4_793_211_002;

/** Marks the events of `doomed` as pruned in their feeds, deletes them and moves the floor. */
const FORGET = `
  with doomed as (%DOOMED%),
  lost as (
    select access_id, max(version) as version, max(position) as position from doomed group by access_id
  ),
  marked as (
    insert into feeds (access_id, version, position, pruned_version, pruned_position)
    select access_id, version, position, version, position from lost order by access_id
    on conflict (access_id) do update set
      version = greatest(feeds.version, excluded.version),
      position = greatest(feeds.position, excluded.position),
      pruned_version = greatest(feeds.pruned_version, excluded.pruned_version),
      pruned_position = greatest(feeds.pruned_position, excluded.pruned_position)
    returning 1
  )
  select (select count(*) from marked) as feeds, array_agg(position) as positions from doomed`;

const OLDEST = FORGET.replace(
  '%DOOMED%',
  `select position, access_id, version from (
     select position, access_id, version,
            bool_and(position <= $1 or recorded_at < $2) over (order by position) as is_given_up
     from (select * from events order by position limit ${STEP_EVENTS}) as step
   ) as judged where is_given_up`,
);

const OF_FEED = FORGET.replace(
  '%DOOMED%',
  `select position, access_id, version from events
   where access_id = $1 and version <= $2 order by position limit ${STEP_EVENTS}`,
);

export async function prunePostgres(pool: pg.Pool, rule: PruneRule): Promise<number> {
  let forgotten = 0;
  if (rule.through !== undefined || rule.recordedBefore !== undefined) {
    const through = rule.through ?? 0;
    const before = rule.recordedBefore ?? Number.MIN_SAFE_INTEGER;
    forgotten += await repeat(() => forget(pool, OLDEST, [through, before]));
  }
  if (rule.keepPerAccessId !== undefined) {
    for (const [accessId, version] of await feedsOver(pool, rule.keepPerAccessId)) {
      forgotten += await repeat(() =>
        forget(pool, OF_FEED, [accessId, version - (rule.keepPerAccessId ?? 0)]),
      );
    }
  }
  return forgotten;
}

/** Feeds of one look for those that have too many events. */
const FEEDS_A_LOOK = 5_000;

/** Hops from name to name through the index: one look-up a feed, whatever the number of its events. */
const FEEDS = `
  with recursive names as (
    (select access_id from events where access_id > $1 order by access_id limit 1)
    union all
    select (select access_id from events where access_id > names.access_id order by access_id limit 1)
    from names where access_id is not null
  )
  select access_id,
         (select version from events e where e.access_id = names.access_id order by position desc limit 1) as version,
         coalesce((select pruned_version from feeds f where f.access_id = names.access_id), 0) as pruned_version
  from names where access_id is not null limit ${FEEDS_A_LOOK}`;

/** Feeds with more events than may be kept, and their last version. */
async function feedsOver(pool: pg.Pool, keep: number): Promise<[string, number][]> {
  const over: [string, number][] = [];
  let after = '';
  for (;;) {
    const { rows } = await pool.query<{ access_id: string; version: number; pruned_version: number }>(FEEDS, [
      after,
    ]);
    for (const row of rows) {
      if (row.version - row.pruned_version > keep) {
        over.push([row.access_id, row.version]);
      }
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < FEEDS_A_LOOK) {
      return over;
    }
    after = last.access_id;
  }
}

async function repeat(step: () => Promise<number>): Promise<number> {
  let total = 0;
  for (;;) {
    const count = await step();
    total += count;
    if (count < STEP_EVENTS) {
      return total;
    }
  }
}

async function forget(pool: pg.Pool, sql: string, values: readonly unknown[]): Promise<number> {
  const client = await pool.connect();
  try {
    await client.query(`begin; select pg_advisory_xact_lock(${PRUNE_LOCK})`);
    const found = await client.query<{ positions: number[] | null }>(sql, [...values]);
    const positions = (found.rows[0]?.positions ?? []).map(Number);
    if (positions.length > 0) {
      // A statement of its own: the trigger must see what the one before has marked.
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
