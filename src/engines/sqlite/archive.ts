/** The SQLite file as source and target of a move, its online backup, and its restore. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { newEpoch } from '../../../migrations/0001_log.ts';
import { LastseenError } from '../../errors.ts';
import type { KeyedBatch, LogSource, LogState, LogTarget, PrunedFeed } from '../archive.ts';
import { openIndex } from './deferred-index.ts';
import { migrateSqlite } from './engine.ts';
import { lockFile } from './lock.ts';
import { openReader } from './reader.ts';
import { createRecentPositions } from './recent-positions.ts';

const PAGE_BYTES = 8 * 1024 * 1024;

const selectState = `select epoch, floor, max(coalesce((select max(position) from events), 0), floor - 1) as head from log`;

export function openSqliteSource(path: string): Promise<LogSource> {
  const db = openReadonly(path);
  const reader = openReader(path, createRecentPositions(0));
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
    state: () => Promise.resolve(stateOf(db)),
    events: (position, limit) =>
      Promise.resolve(reader.readLog(position, { maxEvents: limit, maxBytes: PAGE_BYTES })),
    eventsOf: (accessIds, position, through, limit) =>
      Promise.resolve(
        reader.readAmong(accessIds, position, through, { maxEvents: limit, maxBytes: PAGE_BYTES }),
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
  const { floor, head } = stateOf(db);
  if (floor !== 1 || head !== 0) {
    await close();
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `${path} is not empty: a log is imported into a new database`,
    );
  }
  const index = openIndex(db);
  const insert = db.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?)');
  const saveFeed = db.prepare(
    `insert into feeds values (?, ?, ?, ?, ?) on conflict (access_id) do update set
       version = max(version, excluded.version), position = max(position, excluded.position),
       pruned_version = excluded.pruned_version, pruned_position = excluded.pruned_position`,
  );
  const saveBatch = db.prepare('insert into batches values (?, ?, ?, ?)');
  db.exec('begin immediate');

  function flush(isForced: boolean): void {
    index.startFlush(isForced);
    while (index.isFlushing) {
      index.writeSlice();
      index.committed();
    }
  }

  return {
    events(events) {
      for (const { position, accessId, version, createdAt, recordedAt, id, payload } of events) {
        insert.run(position, accessId, version, createdAt, recordedAt, id, payload);
        index.add(position, accessId, version, createdAt);
      }
      flush(false);
      return Promise.resolve();
    },
    feeds(feeds) {
      flush(true);
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
      flush(true);
      db.prepare('update log set epoch = ?, floor = ?').run(state.epoch, state.floor);
      db.exec('commit');
      return Promise.resolve();
    },
    close,
  };
}

/** Copies the log to a new file, whole and consistent, while a server may be running over it. */
export function backupSqlite(path: string, to: string): void {
  if (existsSync(to)) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${to} exists already`);
  }
  const db = openReadonly(path);
  try {
    copyInto(db, to);
  } finally {
    db.close();
  }
}

/**
 * Puts the backup `from` in the place of the database at `path`, under a new epoch, so that cursors of what was lost
 * are refused. What stood there is kept beside it; returns its name, or `undefined` if there was nothing.
 * @throws ERR_STORE_LOCKED while a server runs over it
 */
export function restoreSqlite(path: string, from: string): string | undefined {
  const backup = openReadonly(from);
  mkdirSync(dirname(path), { recursive: true });
  const unlock = lockFile(path);
  const partial = `${path}-restoring`;
  try {
    const [check] = backup.pragma('quick_check') as { quick_check: string }[];
    if (check?.quick_check !== 'ok') {
      throw new LastseenError('ERR_REQUEST_INVALID', `${from} is damaged`);
    }
    stateOf(backup);
    rmSync(partial, { force: true });
    copyInto(backup, partial);
    const copy = new Database(partial);
    copy.prepare('update log set epoch = ?').run(newEpoch());
    copy.close();
    sync(partial);
    const aside = `${path}-before-${new Date().toISOString().replaceAll(':', '-')}`;
    const hadOne = existsSync(path);
    // The write-ahead log belongs to the file it was made for.
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(path + suffix)) {
        renameSync(path + suffix, aside + suffix);
      }
    }
    renameSync(partial, path);
    sync(dirname(path));
    return hadOne ? aside : undefined;
  } finally {
    backup.close();
    unlock();
  }
}

/** Gives the database at `path` a new epoch. @throws ERR_STORE_LOCKED while a server runs over it */
export function renewSqliteEpoch(path: string): void {
  if (!existsSync(path)) {
    throw missing(path);
  }
  const unlock = lockFile(path);
  try {
    const db = new Database(path, { fileMustExist: true });
    db.prepare('update log set epoch = ?').run(newEpoch());
    db.close();
  } finally {
    unlock();
  }
}

/** Written beside and renamed, so that there is a whole file or none. */
function copyInto(db: Database.Database, to: string): void {
  const partial = `${to}-partial`;
  rmSync(partial, { force: true });
  db.prepare('vacuum into ?').run(partial);
  sync(partial);
  renameSync(partial, to);
}

function sync(path: string): void {
  const file = openSync(path, 'r');
  fsyncSync(file);
  closeSync(file);
}

function openReadonly(path: string): Database.Database {
  if (!existsSync(path)) {
    throw missing(path);
  }
  const db = new Database(path, { readonly: true, fileMustExist: true });
  try {
    stateOf(db);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

function stateOf(db: Database.Database): LogState {
  try {
    const state = db.prepare<[], LogState>(selectState).get();
    if (state !== undefined) {
      return state;
    }
  } catch (error) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${db.name} is no lastseen database`, { cause: error });
  }
  throw new LastseenError('ERR_REQUEST_INVALID', `${db.name} is not a whole lastseen database`);
}

function missing(path: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `there is no file ${path}`);
}
