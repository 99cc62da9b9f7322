/** An SQLite log as `lastseen verify` reads it: on a read-only connection, without the lock, in short transactions. */
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { ArchivedEvent, KeyedBatch, PrunedFeed, SegmentDigest, Term } from '../archive.ts';
import type { IndexChunk, LogUnderCheck, VerifyPage } from '../verify.ts';
import { openReadonly, readState } from './file.ts';

const PAGE_EVENTS = 2_000;
const PAGE_BYTES = 8 * 1024 * 1024;
const PAGE_ROWS = 2_000;

/** Digests that one transaction writes: an append waits for it. */
const SLICE_SEGMENTS = 100;

export interface SqliteCheckOptions {
  /** Whether digests are kept in the file. */
  readonly isReadOnly: boolean;
}

/** @throws ERR_REQUEST_INVALID when it is no lastseen database, ERR_STORE_UNAVAILABLE when it is one of an earlier release */
export function openSqliteCheck(path: string, { isReadOnly }: SqliteCheckOptions): LogUnderCheck {
  const db = openReadonly(path);
  if (db.prepare(`select 1 from sqlite_master where name = 'segments'`).get() === undefined) {
    db.close();
    throw new LastseenError(
      'ERR_STORE_UNAVAILABLE',
      `${path} was written by an earlier release and lacks migrations: run "lastseen migrate", or restore the backup first`,
    );
  }
  db.pragma('busy_timeout = 5000');
  const selectEvents = db.prepare<[number, number], ArchivedEvent>(
    `select position, access_id as accessId, version, created_at as createdAt, recorded_at as recordedAt,
            event_id as id, payload, coalesce(tag, 0) as tag
     from events where position > ? order by position limit ?`,
  );
  const selectMark = db.prepare<[string], Pick<PrunedFeed, 'prunedVersion' | 'prunedPosition'>>(
    `select pruned_version as prunedVersion, pruned_position as prunedPosition from feeds
     where access_id = ? and pruned_version > 0`,
  );
  const selectTerms = db.prepare<[number, number], Term>(
    `select term, first_position as firstPosition, opened_at as openedAt, node from terms
     where first_position >= coalesce((select max(first_position) from terms where first_position <= ?), 0)
       and first_position <= ?
     order by first_position`,
  );
  const selectFeeds = db.prepare<
    [string, number],
    PrunedFeed & { readonly lastAccessId: string | null; readonly lastVersion: number | null }
  >(
    `select feeds.access_id as accessId, feeds.version, feeds.position, pruned_version as prunedVersion,
            pruned_position as prunedPosition, pruned_tag as prunedTag,
            events.access_id as lastAccessId, events.version as lastVersion
     from feeds left join events on events.position = feeds.position
     where feeds.access_id > ? order by feeds.access_id limit ?`,
  );
  const selectBatches = db.prepare<[string, number], KeyedBatch & { readonly lastTag: number | null }>(
    `select key, fingerprint, first_position as firstPosition, last_position as lastPosition, batches.tag,
            case when events.position is not null then coalesce(events.tag, 0) end as lastTag
     from batches left join events on events.position = batches.last_position
     where key > ? order by key limit ?`,
  );
  const selectChunks = db.prepare<[number], Omit<IndexChunk, 'offsets'> & { readonly offsets: string }>(
    `select access_id as accessId, last_offset as lastOffset, max_created_at as maxCreatedAt, offsets
     from event_index where segment = ?`,
  );
  const selectSegments = db.prepare<[], SegmentDigest>(
    `select first_position as firstPosition, last_position as lastPosition, events, sha256, checked_at as checkedAt
     from segments order by first_position`,
  );

  function readEvents(position: number): ArchivedEvent[] {
    const events: ArchivedEvent[] = [];
    let bytes = 0;
    for (const event of selectEvents.iterate(position, PAGE_EVENTS)) {
      events.push(event);
      bytes += 2 * event.payload.length;
      if (bytes >= PAGE_BYTES) {
        break;
      }
    }
    return events;
  }

  const readPage = db.transaction((position: number): VerifyPage => {
    const events = readEvents(position);
    const marks = new Map<string, Pick<PrunedFeed, 'prunedVersion' | 'prunedPosition'>>();
    for (const accessId of new Set(events.map((event) => event.accessId))) {
      const mark = selectMark.get(accessId);
      if (mark !== undefined) {
        marks.set(accessId, mark);
      }
    }
    const terms = selectTerms.all(events[0]?.position ?? 0, events.at(-1)?.position ?? 0);
    return { state: readState(db), headTag: undefined, events, marks, terms };
  });
  const readFeeds = db.transaction((accessId: string) => ({
    head: readState(db).head,
    feeds: selectFeeds.all(accessId, PAGE_ROWS).map(({ lastAccessId, lastVersion, ...feed }) => ({
      ...feed,
      last:
        lastAccessId === null || lastVersion === null
          ? undefined
          : { accessId: lastAccessId, version: lastVersion },
    })),
  }));
  const readBatches = db.transaction((key: string) => ({
    head: readState(db).head,
    batches: selectBatches
      .all(key, PAGE_ROWS)
      .map(({ lastTag, ...batch }) => ({ ...batch, lastTag: lastTag ?? undefined })),
  }));

  return {
    page: (position) => Promise.resolve(readPage(position)),
    feeds: (accessId) => Promise.resolve(readFeeds(accessId)),
    batches: (key) => Promise.resolve(readBatches(key)),
    prunedPosition: (accessId) => Promise.resolve(selectMark.get(accessId)?.prunedPosition ?? 0),
    index: {
      indexedThrough: () =>
        Promise.resolve(db.prepare<[], number>('select indexed from log').pluck().get() ?? 0),
      chunks: (segment) =>
        Promise.resolve(
          selectChunks
            .all(segment)
            .map((row) => ({ ...row, offsets: JSON.parse(row.offsets) as readonly number[] })),
        ),
    },
    segments: () => Promise.resolve(selectSegments.all()),
    keep: isReadOnly
      ? undefined
      : (segments, gone) => {
          keepSegments(path, segments, gone);
          return Promise.resolve();
        },
    close() {
      db.close();
      return Promise.resolve();
    },
  };
}

/** On a connection of its own, in transactions of a few rows: the writer of a server waits for each of them. */
function keepSegments(path: string, segments: readonly SegmentDigest[], gone: readonly number[]): void {
  const db = new Database(path, { fileMustExist: true, timeout: 5_000 });
  try {
    db.pragma('synchronous = FULL');
    // A checkpoint is the work of the server.
    db.pragma('wal_autocheckpoint = 0');
    const save = db.prepare('insert or replace into segments values (?, ?, ?, ?, ?)');
    const remove = db.prepare('delete from segments where first_position = ?');
    const slice = db.transaction((from: number) => {
      for (const segment of segments.slice(from, from + SLICE_SEGMENTS)) {
        const { firstPosition, lastPosition, events, sha256, checkedAt } = segment;
        save.run(firstPosition, lastPosition, events, sha256, checkedAt);
      }
      for (const firstPosition of gone.slice(from, from + SLICE_SEGMENTS)) {
        remove.run(firstPosition);
      }
    });
    for (let from = 0; from < Math.max(segments.length, gone.length); from += SLICE_SEGMENTS) {
      slice.immediate(from);
    }
  } finally {
    db.close();
  }
}
