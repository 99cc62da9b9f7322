/**
 * A cut of an SQLite log, without a transaction that lasts as long as the output takes: it would pin the write-ahead log.
 * Events are read ascending, each page in a short transaction. The page that reaches the end of the log also reads, in the
 * same transaction, all that the log says about its events. So no mark lies beyond the last event, and the pages contain
 * every event that the log had at that moment, beside some that retention had deleted by then.
 */
import Database from 'better-sqlite3';
import {
  type ArchivedEvent,
  type CutEnd,
  cutFailed,
  type CutPage,
  type KeyedBatch,
  type LogCut,
  type PrunedFeed,
  type SegmentDigest,
  type Term,
} from '../archive.ts';
import { readState } from './file.ts';

const PAGE_EVENTS = 2_000;
const PAGE_BYTES = 8 * 1024 * 1024;

/** Events that the log may gain while it is read, beside as many as it had: then it grows faster than it is read. */
const MAX_GROWTH = 1_000_000;

export function cutSqlite(db: Database.Database): LogCut {
  const selectEvents = db.prepare<[number, number], ArchivedEvent>(
    `select position, access_id as accessId, version, created_at as createdAt, recorded_at as recordedAt,
            event_id as id, payload, coalesce(tag, 0) as tag
     from events where position > ? order by position limit ?`,
  );
  const selectBatches = db.prepare<[number, number], KeyedBatch>(
    `select key, fingerprint, first_position as firstPosition, last_position as lastPosition, tag
     from batches where last_position >= ? and last_position < ? order by last_position`,
  );
  // The table has the last event that the index on disk has reached: later ones are in `events`.
  const selectFeeds = db.prepare<[], PrunedFeed>(
    `with recent as materialized (
       select access_id, max(version) as version, max(position) as position
       from events where position > (select indexed from log) group by access_id)
     select feeds.access_id as accessId, coalesce(recent.version, feeds.version) as version,
            coalesce(recent.position, feeds.position) as position, pruned_version as prunedVersion,
            pruned_position as prunedPosition, pruned_tag as prunedTag
     from feeds left join recent on recent.access_id = feeds.access_id
     where pruned_version > 0 order by feeds.access_id`,
  );
  const selectTerms = db.prepare<[], Term>(
    `select term, first_position as firstPosition, opened_at as openedAt, node from terms order by term`,
  );
  const selectSegments = db.prepare<[], SegmentDigest>(
    `select first_position as firstPosition, last_position as lastPosition, events, sha256, checked_at as checkedAt
     from segments order by first_position`,
  );
  const start = readState(db);
  let position = 0;
  let lastTag = 0;
  let end: CutEnd | undefined;

  /** Reads within one transaction: all statements see the same moment. */
  const readPage = db.transaction((): CutPage => {
    const events: ArchivedEvent[] = [];
    let bytes = 0;
    let isCut = false;
    for (const event of selectEvents.iterate(position, PAGE_EVENTS)) {
      bytes += 2 * event.payload.length;
      events.push(event);
      isCut = events.length === PAGE_EVENTS || bytes >= PAGE_BYTES;
      if (isCut) {
        break;
      }
    }
    const last = events.at(-1);
    const through = isCut ? (last?.position ?? 0) : Number.MAX_SAFE_INTEGER;
    // A batch of repeated events has the position of the head: it may still come until the log has gone on.
    const batches = selectBatches.all(position, through);
    if (!isCut) {
      end = {
        state: readState(db),
        feeds: onePage(selectFeeds.all()),
        batches: onePage([]),
        terms: onePage(selectTerms.all()),
        segments: onePage(selectSegments.all()),
      };
    }
    position = last?.position ?? position;
    lastTag = last?.tag ?? lastTag;
    return { events, batches };
  });

  return {
    start,
    next() {
      if (end !== undefined) {
        return Promise.resolve(undefined);
      }
      const page = readPage();
      if (position > 2 * start.head + MAX_GROWTH) {
        throw cutFailed('the log grows faster than the archive can be written');
      }
      return Promise.resolve(page);
    },
    end() {
      if (end === undefined) {
        throw new Error('the cut has more pages');
      }
      return Promise.resolve(end);
    },
    confirm() {
      // A connection of its own: it opens the file that has the name now.
      const now = new Database(db.name, { readonly: true, fileMustExist: true });
      try {
        const tag = now
          .prepare<[number], number>('select coalesce(tag, 0) from events where position = ?')
          .pluck()
          .get(position);
        const { epoch, head } = readState(now);
        if (epoch !== start.epoch || head < position || (tag ?? lastTag) !== lastTag) {
          throw cutFailed(`another log has replaced ${db.name} during the export`);
        }
      } finally {
        now.close();
      }
      return Promise.resolve();
    },
  };
}

/** Everything in one page: a transaction had to read it. */
// eslint-disable-next-line @typescript-eslint/require-await -- the port is asynchronous
async function* onePage<Row>(rows: readonly Row[]): AsyncGenerator<readonly Row[]> {
  yield rows;
}
