/**
 * Pruning the SQLite file, on the writer's connection: transactions of at most `SLICE_EVENTS` events, of one feed or of
 * many, with a turn of the event loop between them, so that appends get their turn. Each transaction first records in
 * `feeds` what a feed loses, then deletes it: the trigger on `events` refuses any other deletion. It moves the floor in
 * the same transaction, and deletes a batch's key only when all events of the batch are gone (G5).
 */
import type { Database } from 'better-sqlite3';
import type { PruneRule } from '../../log/store.ts';
import { nextTurn, type Timers } from '../../runtime.ts';
import { type ClockVerdict, judgeClock } from '../retention-clock.ts';
import { openIndexReader, SEGMENT_EVENTS } from './deferred-index.ts';
import type { Transactions } from './transaction.ts';

export interface SqlitePruner {
  prune(rule: PruneRule, options: PruneOptions): Promise<Pruned>;
}

export interface PruneOptions {
  /** The clock of this process. */
  readonly now: number;
  /** Ends the work after the present slice. */
  readonly signal: AbortSignal;
}

export interface Pruned {
  /** Number of events deleted. */
  readonly pruned: number;
  /** Why no event was deleted by its age. */
  readonly refused?: string;
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
const SLICE_EVENTS = 250;

/** Rows that are read, or deleted from other tables, without a turn of the event loop: some 1 ms. */
const SLICE_ROWS = 1_000;

/** Segments of the index that are read without a turn: a silent feed can have none of its events in any of them. */
const SLICE_PROBES = 300;

export interface SqlitePrunerOptions {
  readonly db: Database;
  readonly transactions: Transactions;
  /** Highest position committed. */
  readonly head: () => number;
  /** Brings the index on disk up to the head: the pruner looks feeds up there. */
  readonly flushIndex: (signal: AbortSignal) => Promise<void>;
  readonly timers: Timers;
}

export function createSqlitePruner(options: SqlitePrunerOptions): SqlitePruner {
  const { db, transactions, head, flushIndex, timers } = options;
  const indexedPositions = openIndexReader(db);
  const selectIndexed = db.prepare<[], number>('select indexed from log').pluck();
  const selectTimes = db
    .prepare<[number, number, number], [number, number]>(
      `select position, recorded_at from events where position > ? and position <= ?
       order by position limit ?`,
    )
    .raw();
  const selectOldest = db
    .prepare<[number, number], [number, string, number]>(
      'select position, access_id, version from events where position <= ? order by position limit ?',
    )
    .raw();
  const selectFeeds = db
    .prepare<[string, number], [string, number, number, number, number]>(
      `select access_id, version, position, pruned_version, pruned_position from feeds
       where access_id > ? order by access_id limit ?`,
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
  const moveFloor = db.prepare<[number]>(
    `update log set floor = max(floor, coalesce((select min(position) from events), ? + 1))`,
  );
  const deleteKeys = db.prepare<[number]>(
    `delete from batches where key in (
       select key from batches where last_position < (select floor from log) order by last_position limit ?)`,
  );
  // The number stands in the text: bound, it would be a floating point number, and so would be the quotient.
  const deleteIndexRows = db.prepare<[number]>(
    `delete from event_index where (segment, access_id, last_offset) in (
       select segment, access_id, last_offset from event_index
       where segment < (select floor from log) / ${SEGMENT_EVENTS} order by segment limit ?)`,
  );
  const selectSeenAt = db.prepare<[], number>('select seen_at from retention').pluck();
  const setSeenAt = db.prepare<[number]>(
    'insert into retention values (1, ?) on conflict (id) do update set seen_at = excluded.seen_at',
  );
  /** Positions in reverse: an event from the future does not hide those before it. */
  const selectNewestTimes = db
    .prepare<[number], number>('select recorded_at from events order by position desc limit ?')
    .pluck();

  function deleteEvents(events: readonly PrunableEvent[]): void {
    transactions.run(() => {
      for (const [position, accessId, version] of events) {
        markPruned.run({ version, position, accessId });
      }
      for (const [position] of events) {
        deleteEvent.run(position);
      }
      moveFloor.run(head());
    });
  }

  /** Deletes the oldest events up to a position. */
  async function pruneThrough(through: number, signal: AbortSignal): Promise<number> {
    let total = 0;
    for (;;) {
      const events = signal.aborted ? [] : selectOldest.all(through, SLICE_EVENTS);
      if (events.length === 0) {
        return total;
      }
      deleteEvents(events);
      total += events.length;
      await nextTurn(timers);
    }
  }

  /**
   * Deletes the events recorded before a time, without a gap from the oldest on. An event whose time is after `now` says
   * nothing: it goes with the event after it.
   */
  async function pruneOld(recordedBefore: number, { now, signal }: PruneOptions): Promise<number> {
    const indexed = selectIndexed.get() ?? 0;
    let total = 0;
    let after = 0;
    for (let isOver = false; !isOver && !signal.aborted;) {
      const times = selectTimes.all(after, indexed, SLICE_ROWS);
      isOver = times.length < SLICE_ROWS;
      let through = 0;
      for (const [position, recordedAt] of times) {
        after = position;
        if (recordedAt < recordedBefore) {
          through = position;
        } else if (recordedAt <= now) {
          isOver = true;
          break;
        }
      }
      total += await pruneThrough(through, signal);
      await nextTurn(timers);
    }
    return total;
  }

  async function* longFeeds(keep: number): AsyncGenerator<LongFeed & { readonly prunedPosition: number }> {
    for (let after = ''; ;) {
      const feeds = selectFeeds.all(after, SLICE_ROWS);
      for (const [accessId, version, lastPosition, prunedVersion, prunedPosition] of feeds) {
        after = accessId;
        if (version - prunedVersion > keep) {
          yield { accessId, lastPosition, throughVersion: version - keep, prunedPosition };
        }
      }
      if (feeds.length < SLICE_ROWS) {
        return;
      }
      await nextTurn(timers);
    }
  }

  /** Deletes the oldest events of each feed that has more than `keep`. One transaction takes those of many feeds. */
  async function pruneLongFeeds(keep: number, signal: AbortSignal): Promise<number> {
    let total = 0;
    let slice: PrunableEvent[] = [];
    let probes = 0;

    async function deleteSlice(): Promise<void> {
      if (slice.length > 0) {
        deleteEvents(slice);
        total += slice.length;
        slice = [];
      }
      probes = 0;
      await nextTurn(timers);
    }

    for await (const feed of longFeeds(keep)) {
      const { accessId, lastPosition, throughVersion } = feed;
      let segment = Math.floor((feed.prunedPosition + 1) / SEGMENT_EVENTS);
      let offset = feed.prunedPosition - segment * SEGMENT_EVENTS;
      let isDone = false;
      while (!isDone && segment * SEGMENT_EVENTS <= lastPosition) {
        const room = SLICE_EVENTS - slice.length;
        const found = indexedPositions({ segment, accessId, offset, limit: room }).slice(0, room);
        probes += 1;
        for (const position of found) {
          const version = selectVersion.get(position) ?? Number.MAX_SAFE_INTEGER;
          if (version > throughVersion) {
            isDone = true;
            break;
          }
          slice.push([position, accessId, version]);
          offset = position - segment * SEGMENT_EVENTS;
        }
        if (found.length < room) {
          segment += 1;
          offset = -1;
        }
        if (slice.length >= SLICE_EVENTS || probes >= SLICE_PROBES) {
          await deleteSlice();
        }
        if (signal.aborted) {
          return total;
        }
      }
    }
    await deleteSlice();
    return total;
  }

  /** Deletes keys whose batches are gone, and rows of the index below the floor. */
  async function sweep(signal: AbortSignal): Promise<void> {
    const statements = [() => deleteKeys.run(SLICE_ROWS), () => deleteIndexRows.run(SLICE_ROWS)];
    for (const statement of statements) {
      for (let changes = SLICE_ROWS; changes >= SLICE_ROWS && !signal.aborted;) {
        transactions.run(() => {
          ({ changes } = statement());
        });
        await nextTurn(timers);
      }
    }
  }

  /** Returns the reason not to delete by age now, and remembers the time for the next run. */
  function refusalOfClock({ maxAgeMs = 0, trustsClock }: PruneRule, now: number): string | undefined {
    const newestRecordedAt = selectNewestTimes.all(SLICE_ROWS).find((recordedAt) => recordedAt <= now);
    const verdict: ClockVerdict =
      trustsClock === true
        ? { seenAt: now }
        : judgeClock({ now, seenAt: selectSeenAt.get(), newestRecordedAt, maxAgeMs });
    transactions.run(() => {
      setSeenAt.run(verdict.seenAt);
    });
    return verdict.refused;
  }

  return {
    async prune(rule, { now, signal }) {
      await flushIndex(signal);
      let pruned = 0;
      let refused: string | undefined;
      if (rule.through !== undefined) {
        pruned += await pruneThrough(Math.min(rule.through, selectIndexed.get() ?? 0), signal);
      }
      if (rule.recordedBefore !== undefined) {
        pruned += await pruneOld(rule.recordedBefore, { now, signal });
      }
      if (rule.maxAgeMs !== undefined) {
        refused = refusalOfClock(rule, now);
        if (refused === undefined) {
          pruned += await pruneOld(now - rule.maxAgeMs, { now, signal });
        }
      }
      if (rule.keepPerAccessId !== undefined) {
        pruned += await pruneLongFeeds(rule.keepPerAccessId, signal);
      }
      await sweep(signal);
      return refused === undefined ? { pruned } : { pruned, refused };
    },
  };
}
