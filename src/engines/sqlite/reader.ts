/**
 * Reads the log from the SQLite file: on a read-only connection of its own, by short statements. No statement stays open
 * between pages, so a slow reader does not pin the write-ahead log.
 */
import Database from 'better-sqlite3';
import type { Cursor, CursorFacts } from '../../log/cursor.ts';
import type { LogEvent } from '../../log/event.ts';
import { eventBytes } from '../../log/event.ts';
import { laterOf, type Lineage, originOf, type Place, termOf } from '../../log/place.ts';
import type { Page, PageLimit } from '../../log/store.ts';
import { nextTurn, type Timers } from '../../runtime.ts';
import { openIndexReader, openLastBefore, SEGMENT_EVENTS } from './deferred-index.ts';
import type { RecentPositions } from './recent-positions.ts';

type Row = [number, string, number, number, number, string | null, string, number];

/** Rows of one step of a page. */
const MAX_STEP = 256;

const COLUMNS = 'position, access_id, version, created_at, recorded_at, event_id, payload, coalesce(tag, 0)';

export interface SqliteReader {
  readLog(position: number, limit: PageLimit): LogEvent[];
  /** The events of these access_ids in a range of positions. Reads that whole part of the log, without the index. */
  readLogOf(
    accessIds: readonly string[],
    range: PageLimit & { readonly after: number; readonly through: number },
  ): LogEvent[];
  /** `head` is the highest position that the caller may report: events committed after it belong to the next page. */
  readFeed(accessId: string, position: number, limit: PageLimit & { readonly head: number }): Page;
  /** The last event of these feeds at or before `through`; else the last deleted event of them, else the origin. */
  lastPlace(accessIds: readonly string[], through: number): Promise<Place>;
  positionBefore(accessId: string, createdAt: number, head: number): Promise<number>;
  /** The last deleted event of these feeds; the origin if none was deleted. */
  prunedThrough(accessIds: readonly string[]): Place;
  cursorFacts(accessIds: readonly string[], cursor: Cursor, head: number): CursorFacts;
  /** The end of the log when the reader was opened. */
  end(): Place;
  floor(): number;
  close(): void;
}

export interface SqliteReaderOptions {
  readonly path: string;
  /** Of the places that the reader returns. */
  readonly lineage: Lineage;
  readonly recent: RecentPositions;
  readonly timers: Timers;
}

export function createSqliteReader({ path, lineage, recent, timers }: SqliteReaderOptions): SqliteReader {
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
  const selectMark = db
    .prepare<[string], [number, number]>('select pruned_position, pruned_tag from feeds where access_id = ?')
    .raw();
  const selectTag = db
    .prepare<[number], number>('select coalesce(tag, 0) from events where position = ?')
    .pluck();
  const selectTaggedFrom = db.prepare<[], number>('select tagged_from from log').pluck();
  /** The position before the next term; null if there is none, no row if the log does not know the term. */
  const selectNextTerm = db
    .prepare<[number], number | null>(
      `select (select min(later.first_position) - 1 from terms later where later.first_position > own.first_position)
       from terms own where own.term = ?`,
    )
    .pluck();
  const selectEnd = db
    .prepare<[], [number, number]>(
      'select position, coalesce(tag, 0) from events order by position desc limit 1',
    )
    .raw();
  const selectEndMark = db
    .prepare<[], [number, number]>(
      'select pruned_position, pruned_tag from feeds order by pruned_position desc limit 1',
    )
    .raw();
  const findLastBefore = openLastBefore(db);
  const endAtStart = readEnd();
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

  /** This process appends in a term of its own: terms that began before it have ended. */
  function termEnd(term: number): number | undefined {
    const next = selectNextTerm.get(term);
    if (next === undefined) {
      return undefined;
    }
    return next ?? (term === termOf(endAtStart.tag) ? endAtStart.position : undefined);
  }

  function readEnd(): Place {
    const [position, tag] = selectEnd.get() ?? selectEndMark.get() ?? [0, 0];
    return { lineage, position, tag };
  }

  function markOf(accessId: string): Place {
    const [position, tag] = selectMark.get(accessId) ?? [0, 0];
    return { lineage, position, tag };
  }

  function prunedThrough(accessIds: readonly string[]): Place {
    return accessIds.map(markOf).reduce(laterOf, originOf(lineage));
  }

  /** Position of the last event of `accessId` at or before `through`; 0 if retention has left none. */
  async function lastPosition(accessId: string, through: number): Promise<number> {
    const last = recent.last(accessId) ?? selectLast.get(accessId) ?? 0;
    if (last <= through) {
      return last;
    }
    const indexed = recent.indexedThrough;
    const later = recent
      .after(accessId, indexed, Number.MAX_SAFE_INTEGER)
      .findLast((position) => position <= through);
    if (later !== undefined) {
      return later;
    }
    const [pruned] = selectMark.get(accessId) ?? [0];
    const end = Math.min(through, indexed);
    for (
      let segment = Math.floor(end / SEGMENT_EVENTS), steps = 1;
      segment >= Math.floor(pruned / SEGMENT_EVENTS);
      segment -= 1, steps += 1
    ) {
      const found = findLastBefore({ segment, accessId, offset: end - segment * SEGMENT_EVENTS });
      if (found !== undefined) {
        return found > pruned ? found : 0;
      }
      if (steps % 64 === 0) {
        await nextTurn(timers);
      }
    }
    return 0;
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
        const event = eventOf(row, lineage);
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
    readLog: (position, limit) =>
      takeFitting(selectAfter.iterate(position, limit.maxEvents), limit.maxBytes, lineage),
    readLogOf: (accessIds, { after, through, maxEvents, maxBytes }) =>
      takeFitting(selectOf.iterate(after, through, JSON.stringify(accessIds), maxEvents), maxBytes, lineage),
    readFeed(accessId, position, limit) {
      const positions = positionsAfter(accessId, position, limit.maxEvents).slice(0, limit.maxEvents);
      const { events, isCut } = eventsAt(positions, limit.maxBytes);
      // Read after the events, so that it covers what was pruned meanwhile.
      const pruned = markOf(accessId);
      if (isCut) {
        return { events, through: events.at(-1)?.position ?? position, pruned };
      }
      if (positions.length === limit.maxEvents) {
        return { events, through: positions.at(-1) ?? position, pruned };
      }
      return { events, through: Math.max(position, limit.head), pruned };
    },
    async lastPlace(accessIds, through) {
      let last = 0;
      for (const accessId of accessIds) {
        last = Math.max(last, await lastPosition(accessId, through));
      }
      const tag = selectTag.get(last);
      // Retention has deleted the event: its mark is the place.
      return tag === undefined ? prunedThrough(accessIds) : { lineage, position: last, tag };
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
    prunedThrough,
    cursorFacts(accessIds, { position, tag }, head) {
      return {
        lineage,
        head,
        taggedFrom: selectTaggedFrom.get() ?? 1,
        tag: position > head ? undefined : selectTag.get(position),
        marks: accessIds.map(markOf).filter((mark) => mark.position > 0),
        termEnd: tag === undefined ? undefined : termEnd(termOf(tag)),
      };
    },
    end: () => endAtStart,
    floor: () => selectFloor.get() ?? 1,
    close() {
      db.close();
    },
  };
}

/** As many events as fit, and at least one. */
function takeFitting(rows: Iterable<Row>, maxBytes: number, lineage: Lineage): LogEvent[] {
  const events: LogEvent[] = [];
  let bytes = 0;
  for (const row of rows) {
    const event = eventOf(row, lineage);
    bytes += eventBytes(event);
    if (events.length > 0 && bytes > maxBytes) {
      break;
    }
    events.push(event);
  }
  return events;
}

function eventOf(row: Row, lineage: Lineage): LogEvent {
  const [position, accessId, version, createdAt, recordedAt, id, payload, tag] = row;
  return { lineage, position, tag, accessId, version, createdAt, recordedAt, id, payload };
}
