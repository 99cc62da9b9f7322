/**
 * The log in an SQLite file. One thread appends and prunes, on a connection of its own; a second thread runs checkpoints;
 * reads are short statements on a read-only connection in the main thread. The store reports an event as committed when
 * the writer has answered, although its reader may see the event in the file a moment earlier.
 */
import { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { Lineage } from '../../log/place.ts';
import type { EventStore, History } from '../../log/store.ts';
import { nextTurn, type Timers } from '../../runtime.ts';
import { createSqliteReader } from './reader.ts';
import { createRecentPositions } from './recent-positions.ts';
import { createSqliteWriter, whenReady } from './writer.ts';

export interface SqliteStoreOptions {
  readonly path: string;
  readonly timers: Timers;
  /** Called with each failure that no caller awaits. */
  readonly onError: (error: unknown) => void;
}

export async function openSqliteStore({ path, timers, onError }: SqliteStoreOptions): Promise<EventStore> {
  const thread = startThread('writer-thread', path);
  const headAtStart = await whenReady(thread);
  let start: Start;
  try {
    start = readStart(path);
  } catch (error) {
    await thread.terminate();
    throw error;
  }
  const recent = createRecentPositions(start.indexed);
  for (const [position, accessId] of start.unindexed) {
    recent.add(position, accessId);
  }
  const lineage: Lineage = { epoch: start.epoch };
  const writer = createSqliteWriter({ thread, lineage, headAtStart, recent, onError });
  const reader = createSqliteReader({ path, lineage, recent, timers });
  const checkpointer = startThread('checkpointer-thread', path);
  checkpointer.on('message', (message: { type: string; message?: string }) => {
    if (message.type === 'restart-wal') {
      writer.restartWal();
    } else {
      onError(new Error(`checkpoint failed: ${message.message ?? ''}`));
    }
  });

  // One process per file, and the writer ends the process if the file is replaced: there is one history.
  const history: History = {
    lineage,
    head: reader.end(),
    append: writer.append,
    // Reads are synchronous: a turn of the event loop between pages gives every reader its share.
    async readFeed(accessId, position, limit) {
      await nextTurn(timers);
      return reader.readFeed(accessId, position, { ...limit, head: writer.head });
    },
    async readLog(position, limit) {
      await nextTurn(timers);
      return reader.readLog(position, limit).filter((event) => event.position <= writer.head);
    },
    bounds: () => Promise.resolve({ epoch: start.epoch, floor: reader.floor(), head: writer.head }),
    lastPlace: (accessIds, through = Infinity) => reader.lastPlace(accessIds, Math.min(through, writer.head)),
    async firstSince(accessId, createdAt) {
      const { head } = writer;
      const before = await reader.positionBefore(accessId, createdAt, head);
      return before === head ? undefined : before + 1;
    },
    prunedThrough: (accessIds) => Promise.resolve(reader.prunedThrough(accessIds)),
    cursorFacts: (accessIds, cursor) => Promise.resolve(reader.cursorFacts(accessIds, cursor, writer.head)),
    prune: writer.prune,
    onEnd: () => () => undefined,
    close: () => Promise.resolve(),
  };

  return {
    open: () => Promise.resolve(history),
    // Nobody else appends.
    onWake: () => () => undefined,
    async close() {
      checkpointer.postMessage('close');
      await new Promise((resolve) => checkpointer.once('exit', resolve));
      reader.close();
      await writer.close();
    },
  };
}

function startThread(name: string, path: string): Worker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new Worker(new URL(`./${name}.${extension}`, import.meta.url), { workerData: { path } });
}

interface Start {
  readonly epoch: string;
  /** The index on disk reaches so far. */
  readonly indexed: number;
  /** Position and access_id of the events after it. */
  readonly unindexed: readonly [number, string][];
}

/** What the index on disk does not reach yet is read before the first append. */
function readStart(path: string): Start {
  const db = new Database(path, { readonly: true });
  try {
    const log = db.prepare<[], { epoch: string; indexed: number }>('select epoch, indexed from log').get();
    if (log === undefined) {
      throw new LastseenError(
        'ERR_STORE_UNAVAILABLE',
        `${path} has no row in table log: it is not a whole lastseen database`,
      );
    }
    const unindexed = db
      .prepare<[number], [number, string]>(
        'select position, access_id from events where position > ? order by position',
      )
      .raw()
      .all(log.indexed);
    return { ...log, unindexed };
  } finally {
    db.close();
  }
}
