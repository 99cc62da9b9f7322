/** An SQLite file as the source and the target of a move: `lastseen export` and `lastseen import`. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import type { Knex } from 'knex';
import { LastseenError } from '../../errors.ts';
import { type Lineage, originOf, type Place } from '../../log/place.ts';
import type { Runtime, Timers } from '../../runtime.ts';
import {
  cutFailed,
  importUnfinished,
  type LogSource,
  type LogTarget,
  notEmpty,
  outOfBounds,
  PENDING_IMPORT_TABLE,
  type PrunedFeed,
} from '../archive.ts';
import { cutSqlite } from './cut.ts';
import { openDeferredIndex, openIndexReader, SEGMENT_EVENTS } from './deferred-index.ts';
import { hasTags, openReadonly, readState } from './file.ts';
import { lockFile } from './lock.ts';
import { migrateLocked } from './migrate.ts';
import { createSqliteReader } from './reader.ts';
import { createRecentPositions } from './recent-positions.ts';
import { settleRestore } from './restore.ts';

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
  const file = statSync(path).ino;
  const lineage: Lineage = { epoch: readState(db).epoch };
  const reader = createSqliteReader({ path, lineage, recent: createRecentPositions(0), timers });
  // SQLite opens a file by its name: both connections must have the same.
  if (statSync(path, { throwIfNoEntry: false })?.ino !== file) {
    reader.close();
    db.close();
    throw cutFailed(`another file has replaced ${path} while it was opened`);
  }
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
    cut: () => Promise.resolve(cutSqlite(db)),
    close() {
      reader.close();
      db.close();
      return Promise.resolve();
    },
  });
}

export async function openSqliteTarget(path: string, { clock }: Pick<Runtime, 'clock'>): Promise<LogTarget> {
  mkdirSync(dirname(path), { recursive: true });
  const unlock = lockFile(path);
  let db: Database.Database | undefined;
  try {
    settleRestore(path);
    db = new Database(path);
    beginImport(db, clock.now());
    await migrateLocked(path);
    return fillSqlite(db, unlock);
  } catch (error) {
    db?.close();
    unlock();
    throw error;
  }
}

/** Marks the import as begun: a server that starts after a crash finds the mark. @throws ERR_REQUEST_INVALID if there are events */
function beginImport(db: Database.Database, startedAt: number): void {
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('cache_size = -65536');
  if (db.prepare(`select 1 from sqlite_master where name = 'log'`).get() !== undefined) {
    const { floor, head } = readState(db);
    if (floor !== 1 || head !== 0) {
      throw notEmpty(db.name);
    }
  }
  const mark = db.transaction(() => {
    db.exec(PENDING_IMPORT_TABLE);
    db.prepare('insert or replace into pending_import values (1, ?)').run(startedAt);
  });
  mark.immediate();
}

/** Fills the log in one transaction, which also removes the mark of the import. */
function fillSqlite(db: Database.Database, unlock: () => void): LogTarget {
  const index = openDeferredIndex(db);
  const indexedPositions = openIndexReader(db);
  const insert = db.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?, ?)');
  const saveFeed = db.prepare(
    `insert into feeds values (?, ?, ?, ?, ?, ?) on conflict (access_id) do update set
       version = max(version, excluded.version), position = max(position, excluded.position),
       pruned_version = excluded.pruned_version, pruned_position = excluded.pruned_position,
       pruned_tag = excluded.pruned_tag`,
  );
  const saveBatch = db.prepare('insert into batches values (?, ?, ?, ?, ?)');
  const saveTerm = db.prepare('insert into terms values (?, ?, ?, ?)');
  const saveSegment = db.prepare('insert into segments values (?, ?, ?, ?, ?)');
  const deleteEvent = db.prepare('delete from events where position = ?');
  const forgetImport = db.prepare('delete from pending_import');
  db.exec('begin immediate');

  function flush({ isForced } = { isForced: false }): void {
    index.startFlush({ isForced });
    while (index.isFlushing) {
      index.writeSlice();
      index.committed();
    }
  }

  /** Deletes the events of a feed from `from` to its mark. The index has them all. */
  function deleteThroughMark({ accessId, prunedPosition }: PrunedFeed, from: number): void {
    for (
      let segment = Math.floor(from / SEGMENT_EVENTS);
      segment <= Math.floor(prunedPosition / SEGMENT_EVENTS);
      segment += 1
    ) {
      for (const position of indexedPositions({ segment, accessId, offset: -1, limit: SEGMENT_EVENTS })) {
        if (position <= prunedPosition) {
          deleteEvent.run(position);
        }
      }
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
        if (feed.supersededFrom !== undefined) {
          deleteThroughMark(feed, feed.supersededFrom);
        }
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
    segments(segments) {
      for (const { firstPosition, lastPosition, events, sha256, checkedAt } of segments) {
        saveSegment.run(firstPosition, lastPosition, events, sha256, checkedAt);
      }
      return Promise.resolve();
    },
    async commit(state) {
      flush({ isForced: true });
      db.prepare('update log set epoch = ?, floor = ?, tagged_from = ?').run(
        state.epoch,
        state.floor,
        state.taggedFrom,
      );
      for (const end of ['min', 'max']) {
        const event = db.prepare<[], number | null>(`select ${end}(position) from events`).pluck().get();
        if (event !== null && event !== undefined && (event < state.floor || event > state.head)) {
          throw outOfBounds(event, state);
        }
      }
      forgetImport.run();
      db.exec('commit');
      await Promise.resolve();
    },
    close() {
      if (db.inTransaction) {
        db.exec('rollback');
        forgetImport.run();
      }
      db.close();
      unlock();
      return Promise.resolve();
    },
  };
}

/** @throws ERR_STORE_UNAVAILABLE when an import into the database did not finish */
export async function refuseUnfinishedImport(knex: Knex, path: string): Promise<void> {
  const found: unknown = await knex('pending_import').first();
  if (found !== undefined) {
    throw importUnfinished(path);
  }
}
