/**
 * Forgetting in the SQLite file, on the writer's connection: small transactions with a turn of the event loop between
 * them, so that pushes go on. What a feed has lost is written before it is deleted: the trigger on `events` lets go of
 * nothing else.
 */
import type { Database } from 'better-sqlite3';
import type { PruneRule } from '../../log/store.ts';
import { nextTurn, type Timers } from '../../runtime.ts';
import { openIndexReader, SEGMENT_EVENTS } from './deferred-index.ts';

export interface SqlitePruner {
  /** Returns the number of events forgotten. */
  prune(rule: PruneRule): Promise<number>;
}

type Doomed = readonly [position: number, accessId: string, version: number];

/** Events of one transaction: some 2 ms. */
const STEP_EVENTS = 250;

export interface SqlitePrunerOptions {
  /** Brings the index on disk up to the head: feeds are looked up there. */
  readonly flushIndex: () => void;
  readonly timers: Timers;
}

export function createSqlitePruner(db: Database, { flushIndex, timers }: SqlitePrunerOptions): SqlitePruner {
  const indexedPositions = openIndexReader(db);
  const selectOldest = db
    .prepare<[number], [number, string, number, number]>(
      'select position, access_id, version, recorded_at from events order by position limit ?',
    )
    .raw();
  const selectFeedsOver = db
    .prepare<[number], [string, number, number, number]>(
      'select access_id, version, position, pruned_position from feeds where version - pruned_version > ?',
    )
    .raw();
  const selectVersion = db.prepare<[number], number>('select version from events where position = ?').pluck();
  const mark = db.prepare(
    `update feeds set pruned_version = max(pruned_version, ?), pruned_position = max(pruned_position, ?)
     where access_id = ?`,
  );
  const remove = db.prepare('delete from events where position = ?');
  const moveFloor = db.prepare(
    `update log set floor = max(floor, coalesce(
       (select min(position) from events), (select max(position) + 1 from feeds), 1))`,
  );

  const forget = db.transaction((doomed: readonly Doomed[]) => {
    for (const [position, accessId, version] of doomed) {
      mark.run(version, position, accessId);
    }
    for (const [position] of doomed) {
      remove.run(position);
    }
    moveFloor.run();
  });

  /** The oldest events that the rule gives up, without a gap from the floor on. */
  function oldest({ through = 0, recordedBefore = Number.MIN_SAFE_INTEGER }: PruneRule): Doomed[] {
    const doomed: Doomed[] = [];
    for (const [position, accessId, version, recordedAt] of selectOldest.iterate(STEP_EVENTS)) {
      if (position > through && recordedAt >= recordedBefore) {
        break;
      }
      doomed.push([position, accessId, version]);
    }
    return doomed;
  }

  /** The oldest events of a feed after a position, up to `version`; `last` is the position of its last event. */
  function ofFeed(accessId: string, after: number, version: number, last: number): Doomed[] {
    const doomed: Doomed[] = [];
    let segment = Math.floor((after + 1) / SEGMENT_EVENTS);
    let offset = after - segment * SEGMENT_EVENTS;
    while (doomed.length < STEP_EVENTS && segment * SEGMENT_EVENTS <= last) {
      for (const position of indexedPositions(segment, accessId, offset, STEP_EVENTS)) {
        const at = selectVersion.get(position) ?? Number.MAX_SAFE_INTEGER;
        if (at > version || doomed.length >= STEP_EVENTS) {
          return doomed;
        }
        doomed.push([position, accessId, at]);
      }
      segment += 1;
      offset = -1;
    }
    return doomed;
  }

  async function repeat(next: () => readonly Doomed[]): Promise<number> {
    let total = 0;
    for (let doomed = next(); doomed.length > 0; doomed = next()) {
      forget.immediate(doomed);
      total += doomed.length;
      await nextTurn(timers);
    }
    return total;
  }

  return {
    async prune(rule) {
      flushIndex();
      let forgotten = 0;
      if (rule.through !== undefined || rule.recordedBefore !== undefined) {
        forgotten += await repeat(() => oldest(rule));
      }
      const keep = rule.keepPerAccessId;
      if (keep !== undefined) {
        for (const [accessId, version, last, pruned] of selectFeedsOver.all(keep)) {
          let after = pruned;
          forgotten += await repeat(() => {
            const doomed = ofFeed(accessId, after, version - keep, last);
            after = doomed.at(-1)?.[0] ?? after;
            return doomed;
          });
        }
      }
      const floor = db.prepare<[], number>('select floor from log').pluck().get() ?? 1;
      db.prepare('delete from batches where last_position < ?').run(floor);
      db.prepare('delete from event_index where segment < ?').run(Math.floor(floor / SEGMENT_EVENTS));
      return forgotten;
    },
  };
}
