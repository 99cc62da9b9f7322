/** An SQLite file as the source and the target of a move: `lastseen export` and `lastseen import`. */
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { Timers } from '../../runtime.ts';
import type { KeyedBatch, LogSource, LogTarget, PrunedFeed } from '../archive.ts';
import { openDeferredIndex } from './deferred-index.ts';
import { openReadonly, readState } from './file.ts';
import { lockFile } from './lock.ts';
import { migrateSqlite } from './migrate.ts';
import { createSqliteReader } from './reader.ts';
import { createRecentPositions } from './recent-positions.ts';

const PAGE_BYTES = 8 * 1024 * 1024;

export function openSqliteSource(path: string, timers: Timers): Promise<LogSource> {
  const db = openReadonly(path);
  const reader = createSqliteReader({ path, recent: createRecentPositions(0), timers });
  const selectFeeds = db.prepare<[string, number], PrunedFeed>(
    `select access_id as accessId, version, position, pruned_version as prunedVersion,
            pruned_position as prunedPosition
     from feeds where access_id > ? and pruned_version > 0 order by access_id limit ?`,
  );
  const selectBatches = db.prepare<[string, number], KeyedBatch>(
    `select key, fingerprint, first_position as firstPosition, last_position as lastPosition
     from batches where key > ? order by key limit ?`,
  );
  const selectPruned = db.prepare<[], number | null>('select max(pruned_position) from feeds').pluck();
  const selectPrunedOf = db
    .prepare<[string], number | null>(
      'select max(pruned_position) from feeds where access_id in (select value from json_each(?))',
    )
    .pluck();
  return Promise.resolve({
    state: () => Promise.resolve(readState(db)),
    events: (position, limit) =>
      Promise.resolve(reader.readLog(position, { maxEvents: limit, maxBytes: PAGE_BYTES })),
    eventsOf: (accessIds, { after, through, limit }) =>
      Promise.resolve(
        reader.readLogOf(accessIds, { after, through, maxEvents: limit, maxBytes: PAGE_BYTES }),
      ),
    prunedThrough: (accessIds) =>
      Promise.resolve(
        (accessIds.length === 0 ? selectPruned.get() : selectPrunedOf.get(JSON.stringify(accessIds))) ?? 0,
      ),
    feeds: (accessId, limit) => Promise.resolve(selectFeeds.all(accessId, limit)),
    batches: (key, limit) => Promise.resolve(selectBatches.all(key, limit)),
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
  const insert = db.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?)');
  const saveFeed = db.prepare(
    `insert into feeds values (?, ?, ?, ?, ?) on conflict (access_id) do update set
       version = max(version, excluded.version), position = max(position, excluded.position),
       pruned_version = excluded.pruned_version, pruned_position = excluded.pruned_position`,
  );
  const saveBatch = db.prepare('insert into batches values (?, ?, ?, ?)');
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
        const { position, accessId, version, createdAt, recordedAt, id, payload } = event;
        insert.run(position, accessId, version, createdAt, recordedAt, id, payload);
        index.add(event);
      }
      flush();
      return Promise.resolve();
    },
    feeds(feeds) {
      flush({ isForced: true });
      for (const feed of feeds) {
        saveFeed.run(feed.accessId, feed.version, feed.position, feed.prunedVersion, feed.prunedPosition);
      }
      return Promise.resolve();
    },
    batches(batches) {
      for (const batch of batches) {
        saveBatch.run(batch.key, batch.fingerprint, batch.firstPosition, batch.lastPosition);
      }
      return Promise.resolve();
    },
    commit(state) {
      flush({ isForced: true });
      db.prepare('update log set epoch = ?, floor = ?').run(state.epoch, state.floor);
      db.exec('commit');
      return Promise.resolve();
    },
    close,
  };
}
