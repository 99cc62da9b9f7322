/**
 * Pruning the SQLite file, on the writer's connection: small transactions with a turn of the event loop between them, so
 * that appends get their turn. Each transaction first records in `feeds` what a feed loses, then deletes it: the trigger
 * on `events` refuses any other deletion.
 */
import type { Database } from 'better-sqlite3';
import type { PruneRule } from '../../log/store.ts';
import { nextTurn, type Timers } from '../../runtime.ts';
import { openIndexReader, SEGMENT_EVENTS } from './deferred-index.ts';

export interface SqlitePruner {
  /** Returns the number of events deleted. */
  prune(rule: PruneRule): Promise<number>;
}

type PrunableEvent = readonly [position: number, accessId: string, version: number];

/** A feed with more events than the rule keeps. */
interface LongFeed {
  readonly accessId: string;
  /** Position of its last event. */
  readonly lastPosition: number;
  /** Its last version that is not kept. */
  readonly throughVersion: number;
}

/** Events of one transaction: some 2 ms. */
const STEP_EVENTS = 250;

export interface SqlitePrunerOptions {
  /** Brings the index on disk up to the head: the pruner looks feeds up there. */
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
  const selectLongFeeds = db
    .prepare<[number], [string, number, number, number]>(
      'select access_id, version, position, pruned_position from feeds where version - pruned_version > ?',
    )
    .raw();
  const selectVersion = db.prepare<[number], number>('select version from events where position = ?').pluck();
  const markPruned = db.prepare(
    `update feeds set pruned_version = max(pruned_version, @version), pruned_position = max(pruned_position, @position),
       pruned_tag = case when @position > pruned_position
         then coalesce((select tag from events where position = @position), 0) else pruned_tag end
     where access_id = @accessId`,
  );
  const deleteEvent = db.prepare('delete from events where position = ?');
  const moveFloor = db.prepare(
    `update log set floor = max(floor, coalesce(
       (select min(position) from events), (select max(position) + 1 from feeds), 1))`,
  );

  const deleteEvents = db.transaction((events: readonly PrunableEvent[]) => {
    for (const [position, accessId, version] of events) {
      markPruned.run({ version, position, accessId });
    }
    for (const [position] of events) {
      deleteEvent.run(position);
    }
    moveFloor.run();
  });

  /** The oldest events of the log that fall outside the rule, without a gap from the floor on. */
  function nextOfLog({ through = 0, recordedBefore = Number.MIN_SAFE_INTEGER }: PruneRule): PrunableEvent[] {
    const events: PrunableEvent[] = [];
    for (const [position, accessId, version, recordedAt] of selectOldest.iterate(STEP_EVENTS)) {
      if (position > through && recordedAt >= recordedBefore) {
        break;
      }
      events.push([position, accessId, version]);
    }
    return events;
  }

  /** The oldest events of a feed after a position that are not kept. */
  function nextOfFeed({ accessId, lastPosition, throughVersion }: LongFeed, after: number): PrunableEvent[] {
    const events: PrunableEvent[] = [];
    let segment = Math.floor((after + 1) / SEGMENT_EVENTS);
    let offset = after - segment * SEGMENT_EVENTS;
    while (events.length < STEP_EVENTS && segment * SEGMENT_EVENTS <= lastPosition) {
      for (const position of indexedPositions({ segment, accessId, offset, limit: STEP_EVENTS })) {
        const version = selectVersion.get(position) ?? Number.MAX_SAFE_INTEGER;
        if (version > throughVersion || events.length >= STEP_EVENTS) {
          return events;
        }
        events.push([position, accessId, version]);
      }
      segment += 1;
      offset = -1;
    }
    return events;
  }

  async function pruneInSteps(next: () => readonly PrunableEvent[]): Promise<number> {
    let total = 0;
    for (let events = next(); events.length > 0; events = next()) {
      deleteEvents.immediate(events);
      total += events.length;
      await nextTurn(timers);
    }
    return total;
  }

  async function pruneLongFeeds(keep: number): Promise<number> {
    let total = 0;
    for (const [accessId, version, lastPosition, prunedPosition] of selectLongFeeds.all(keep)) {
      const feed = { accessId, lastPosition, throughVersion: version - keep };
      let after = prunedPosition;
      total += await pruneInSteps(() => {
        const events = nextOfFeed(feed, after);
        after = events.at(-1)?.[0] ?? after;
        return events;
      });
    }
    return total;
  }

  return {
    async prune(rule) {
      flushIndex();
      let total = 0;
      if (rule.through !== undefined || rule.recordedBefore !== undefined) {
        total += await pruneInSteps(() => nextOfLog(rule));
      }
      if (rule.keepPerAccessId !== undefined) {
        total += await pruneLongFeeds(rule.keepPerAccessId);
      }
      const floor = db.prepare<[], number>('select floor from log').pluck().get() ?? 1;
      db.prepare('delete from batches where last_position < ?').run(floor);
      db.prepare('delete from event_index where segment < ?').run(Math.floor(floor / SEGMENT_EVENTS));
      return total;
    },
  };
}
