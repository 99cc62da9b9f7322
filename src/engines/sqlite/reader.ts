/**
 * Reads the log from the SQLite file: on a read-only connection of its own, by short statements. No statement stays open
 * between pages, so a slow reader does not pin the write-ahead log.
 */
import Database from 'better-sqlite3';
import type { LogEvent } from '../../log/event.ts';
import { eventBytes } from '../../log/event.ts';
import type { Page, PageLimit } from '../../log/store.ts';
import { nextTurn, type Timers } from '../../runtime.ts';
import { openIndexReader, SEGMENT_EVENTS } from './deferred-index.ts';
import type { RecentPositions } from './recent-positions.ts';

type Row = [number, string, number, number, number, string | null, string];

/** Rows of one step of a page. */
const MAX_STEP = 256;

const COLUMNS = 'position, access_id, version, created_at, recorded_at, event_id, payload';

export interface SqliteReader {
  readLog(position: number, limit: PageLimit): LogEvent[];
  /** The events of these access_ids in a range of positions. Reads that whole part of the log, without the index. */
  readLogOf(
    accessIds: readonly string[],
    range: PageLimit & { readonly after: number; readonly through: number },
  ): LogEvent[];
  /** `head` is the highest position that the caller may report: events committed after it belong to the next page. */
  readFeed(accessId: string, position: number, limit: PageLimit & { readonly head: number }): Page;
  lastPosition(accessId: string): number;
  positionBefore(accessId: string, createdAt: number, head: number): Promise<number>;
  prunedThrough(accessId: string): number;
  floor(): number;
  close(): void;
}

export interface SqliteReaderOptions {
  readonly path: string;
  readonly recent: RecentPositions;
  readonly timers: Timers;
}

export function createSqliteReader({ path, recent, timers }: SqliteReaderOptions): SqliteReader {
  const db = new Database(path, { readonly: true, fileMustExist: true });
  db.pragma('busy_timeout = 5000');
  db.pragma('cache_size = -32768');
  const selectMany = db
    .prepare<[string], Row>(
      `select ${COLUMNS} from json_each(?) as wanted cross join events on position = wanted.value`,
    )
    .raw();
  const selectAfter = db
    .prepare<[number, number], Row>(
      `select ${COLUMNS} from events where position > ? order by position limit ?`,
    )
    .raw();
  const selectOf = db
    .prepare<[number, number, string, number], Row>(
      `select ${COLUMNS} from events where position > ? and position <= ?
         and access_id in (select value from json_each(?)) order by position limit ?`,
    )
    .raw();
  const indexedPositions = openIndexReader(db);
  const selectChunksSince = db
    .prepare<[number, string, number], string>(
      `select offsets from event_index where segment = ? and access_id = ? and max_created_at >= ?
       order by last_offset`,
    )
    .pluck();
  const selectCreatedAt = db
    .prepare<[number], number>('select created_at from events where position = ?')
    .pluck();
  const selectLast = db.prepare<[string], number>('select position from feeds where access_id = ?').pluck();
  const selectPruned = db
    .prepare<[string], number>('select pruned_position from feeds where access_id = ?')
    .pluck();
  const selectFloor = db.prepare<[], number>('select floor from log').pluck();

  function positionsAfter(accessId: string, position: number, limit: number): number[] {
    const indexed = recent.indexedThrough;
    if (position >= indexed) {
      return recent.after(accessId, position, limit);
    }
    const positions: number[] = [];
    if ((selectLast.get(accessId) ?? 0) > position) {
      const lastSegment = Math.floor(indexed / SEGMENT_EVENTS);
      let segment = Math.floor((position + 1) / SEGMENT_EVENTS);
      let offset = position - segment * SEGMENT_EVENTS;
      while (segment <= lastSegment && positions.length < limit) {
        const lookup = { segment, accessId, offset, limit: limit - positions.length };
        for (const found of indexedPositions(lookup)) {
          if (found <= indexed) {
            positions.push(found);
          }
        }
        segment += 1;
        offset = -1;
      }
    }
    if (positions.length < limit) {
      positions.push(...recent.after(accessId, indexed, limit - positions.length));
    }
    return positions;
  }

  /**
   * The events at these positions, in order: as many as fit, and at least one. Each step reads about as many rows as
   * still fit, by the average size so far, so that large payloads are not read in vain.
   */
  function eventsAt(positions: readonly number[], maxBytes: number): { events: LogEvent[]; isCut: boolean } {
    const events: LogEvent[] = [];
    let bytes = 0;
    let from = 0;
    let step = 1;
    while (from < positions.length) {
      const rows = selectMany.all(JSON.stringify(positions.slice(from, from + step)));
      for (const row of rows) {
        const event = eventOf(row);
        bytes += eventBytes(event);
        if (events.length > 0 && bytes > maxBytes) {
          return { events, isCut: true };
        }
        events.push(event);
      }
      from += step;
      const average = bytes / Math.max(events.length, 1);
      step = Math.max(1, Math.min(MAX_STEP, Math.ceil((maxBytes - bytes) / Math.max(average, 1))));
    }
    return { events, isCut: false };
  }

  return {
    readLog: (position, limit) => takeFitting(selectAfter.iterate(position, limit.maxEvents), limit.maxBytes),
    readLogOf: (accessIds, { after, through, maxEvents, maxBytes }) =>
      takeFitting(selectOf.iterate(after, through, JSON.stringify(accessIds), maxEvents), maxBytes),
    readFeed(accessId, position, limit) {
      const positions = positionsAfter(accessId, position, limit.maxEvents).slice(0, limit.maxEvents);
      const { events, isCut } = eventsAt(positions, limit.maxBytes);
      // Read after the events, so that it covers what was pruned meanwhile.
      const prunedThrough = selectPruned.get(accessId) ?? 0;
      if (isCut) {
        return { events, through: events.at(-1)?.position ?? position, prunedThrough };
      }
      if (positions.length === limit.maxEvents) {
        return { events, through: positions.at(-1) ?? position, prunedThrough };
      }
      return { events, through: Math.max(position, limit.head), prunedThrough };
    },
    lastPosition(accessId) {
      return recent.last(accessId) ?? selectLast.get(accessId) ?? 0;
    },
    async positionBefore(accessId, createdAt, head) {
      for (let segment = 0; ; segment += 1) {
        // Read again after each pause: what a flush has moved to the disk is then found there.
        const indexed = recent.indexedThrough;
        for (const chunk of selectChunksSince.iterate(segment, accessId, createdAt)) {
          for (const offset of JSON.parse(chunk) as number[]) {
            const found = segment * SEGMENT_EVENTS + offset;
            if (found <= indexed && (selectCreatedAt.get(found) ?? Number.NEGATIVE_INFINITY) >= createdAt) {
              return found - 1;
            }
          }
        }
        if ((segment + 1) * SEGMENT_EVENTS > indexed) {
          break;
        }
        if (segment % 64 === 63) {
          await nextTurn(timers);
        }
      }
      const found = recent.firstSince(accessId, createdAt);
      return found === undefined || found > head ? head : found - 1;
    },
    prunedThrough: (accessId) => selectPruned.get(accessId) ?? 0,
    floor: () => selectFloor.get() ?? 1,
    close() {
      db.close();
    },
  };
}

/** As many events as fit, and at least one. */
function takeFitting(rows: Iterable<Row>, maxBytes: number): LogEvent[] {
  const events: LogEvent[] = [];
  let bytes = 0;
  for (const row of rows) {
    const event = eventOf(row);
    bytes += eventBytes(event);
    if (events.length > 0 && bytes > maxBytes) {
      break;
    }
    events.push(event);
  }
  return events;
}

function eventOf(row: Row): LogEvent {
  const [position, accessId, version, createdAt, recordedAt, id, payload] = row;
  return { position, accessId, version, createdAt, recordedAt, id, payload };
}
