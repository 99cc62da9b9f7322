/** An SQLite file as the source and the target of a move: `lastseen export` and `lastseen import`. */
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import { type Lineage, originOf, type Place } from '../../log/place.ts';
import type { Timers } from '../../runtime.ts';
import type { KeyedBatch, LogSource, LogTarget, PrunedFeed, Term } from '../archive.ts';
import { openDeferredIndex } from './deferred-index.ts';
import { hasTags, openReadonly, readState } from './file.ts';
import { lockFile } from './lock.ts';
import { migrateSqlite } from './migrate.ts';
import { createSqliteReader } from './reader.ts';
import { createRecentPositions } from './recent-positions.ts';

const PAGE_BYTES = 8 * 1024 * 1024;

export function openSqliteSource(path: string, timers: Timers): Promise<LogSource> {
  const db = openReadonly(path);
  if (!hasTags(db)) {
    db.close();
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `${path} has the schema of an earlier release: run "lastseen migrate"`,
    );
  }
  const lineage: Lineage = { epoch: readState(db).epoch };
  const reader = createSqliteReader({ path, lineage, recent: createRecentPositions(0), timers });
  const selectFeeds = db.prepare<[string, number], PrunedFeed>(
    `select access_id as accessId, version, position, pruned_version as prunedVersion,
            pruned_position as prunedPosition, pruned_tag as prunedTag
     from feeds where access_id > ? and pruned_version > 0 order by access_id limit ?`,
  );
  const selectBatches = db.prepare<[string, number], KeyedBatch>(
    `select key, fingerprint, first_position as firstPosition, last_position as lastPosition, tag
     from batches where key > ? order by key limit ?`,
  );
  const selectTerms = db.prepare<[number, number], Term>(
    `select term, first_position as firstPosition, opened_at as openedAt, node
     from terms where term > ? order by term limit ?`,
  );
  const selectMarks = db
    .prepare<[string, string], [number, number]>(
      `select pruned_position, pruned_tag from feeds
       where pruned_position > 0 and (? = '[]' or access_id in (select value from json_each(?)))
       order by pruned_position desc`,
    )
    .raw();
  const selectPlace = db
    .prepare<[number], [number, number]>(
      'select position, coalesce(tag, 0) from events where position <= ? order by position desc limit 1',
    )
    .raw();

  /** The newest mark of these access_ids, and the one at `position` if there is one. */
  function marksOf(accessIds: readonly string[], position: number): Place[] {
    const names = JSON.stringify(accessIds);
    const marks: Place[] = [];
    for (const [markPosition, tag] of selectMarks.iterate(names, names)) {
      if (marks.length === 0 || markPosition === position) {
        marks.push({ lineage, position: markPosition, tag });
      }
      if (markPosition <= position) {
        break;
      }
    }
    return marks;
  }

  return Promise.resolve({
    lineage,
    state: () => Promise.resolve(readState(db)),
    events: (position, limit) =>
      Promise.resolve(reader.readLog(position, { maxEvents: limit, maxBytes: PAGE_BYTES })),
    eventsOf: (accessIds, { after, through, limit }) =>
      Promise.resolve(
        reader.readLogOf(accessIds, { after, through, maxEvents: limit, maxBytes: PAGE_BYTES }),
      ),
    prunedThrough: (accessIds) => Promise.resolve(marksOf(accessIds, Infinity)[0] ?? originOf(lineage)),
    cursorFacts(accessIds, cursor) {
      const facts = reader.cursorFacts([], cursor, readState(db).head);
      return Promise.resolve({ ...facts, marks: marksOf(accessIds, cursor.position) });
    },
    placeAt(position) {
      const found = selectPlace.get(position);
      return Promise.resolve(
        found === undefined ? originOf(lineage) : { lineage, position: found[0], tag: found[1] },
      );
    },
    feeds: (accessId, limit) => Promise.resolve(selectFeeds.all(accessId, limit)),
    batches: (key, limit) => Promise.resolve(selectBatches.all(key, limit)),
    terms: (term, limit) => Promise.resolve(selectTerms.all(term, limit)),
    close() {
      reader.close();
      db.close();
      return Promise.resolve();
    },
  });
}

export async function openSqliteTarget(path: string): Promise<LogTarget> {
  await migrateSqlite(path);
  const unlock = lockFile(path);
  const db = new Database(path);
  const close = (): Promise<void> => {
    if (db.inTransaction) {
      db.exec('rollback');
    }
    db.close();
    unlock();
    return Promise.resolve();
  };
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('cache_size = -65536');
  const { floor, head } = readState(db);
  if (floor !== 1 || head !== 0) {
    await close();
    throw new LastseenError('ERR_REQUEST_INVALID', `${path} is not empty: import a log into a new database`);
  }
  const index = openDeferredIndex(db);
  const insert = db.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?, ?)');
  const saveFeed = db.prepare(
    `insert into feeds values (?, ?, ?, ?, ?, ?) on conflict (access_id) do update set
       version = max(version, excluded.version), position = max(position, excluded.position),
       pruned_version = excluded.pruned_version, pruned_position = excluded.pruned_position,
       pruned_tag = excluded.pruned_tag`,
  );
  const saveBatch = db.prepare('insert into batches values (?, ?, ?, ?, ?)');
  const saveTerm = db.prepare('insert into terms values (?, ?, ?, ?)');
  db.exec('begin immediate');

  function flush({ isForced } = { isForced: false }): void {
    index.startFlush({ isForced });
    while (index.isFlushing) {
      index.writeSlice();
      index.committed();
    }
  }

  return {
    events(events) {
      for (const event of events) {
        const { position, accessId, version, createdAt, recordedAt, id, payload, tag } = event;
        insert.run(position, accessId, version, createdAt, recordedAt, id, payload, tag === 0 ? null : tag);
        index.add(event);
      }
      flush();
      return Promise.resolve();
    },
    feeds(feeds) {
      flush({ isForced: true });
      for (const feed of feeds) {
        saveFeed.run(
          feed.accessId,
          feed.version,
          feed.position,
          feed.prunedVersion,
          feed.prunedPosition,
          feed.prunedTag,
        );
      }
      return Promise.resolve();
    },
    batches(batches) {
      for (const batch of batches) {
        saveBatch.run(batch.key, batch.fingerprint, batch.firstPosition, batch.lastPosition, batch.tag);
      }
      return Promise.resolve();
    },
    terms(terms) {
      for (const { term, firstPosition, openedAt, node } of terms) {
        saveTerm.run(term, firstPosition, openedAt, node);
      }
      return Promise.resolve();
    },
    commit(state) {
      flush({ isForced: true });
      db.prepare('update log set epoch = ?, floor = ?, tagged_from = ?').run(
        state.epoch,
        state.floor,
        state.taggedFrom,
      );
      db.exec('commit');
      return Promise.resolve();
    },
    close,
  };
}
