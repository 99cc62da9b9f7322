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
import { nextTurn, type Runtime } from '../../runtime.ts';
import { storeFailed } from '../refusal.ts';
import { createSqliteReader } from './reader.ts';
import { createRecentPositions, type RecentPositions } from './recent-positions.ts';
import type { CheckpointerReply } from './thread-protocol.ts';
import { createSqliteWriter, type ReadyReply, whenReady } from './writer.ts';

export interface SqliteStoreOptions {
  readonly path: string;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Called with each failure that no caller awaits. */
  readonly onError: (error: unknown) => void;
  readonly onNotice: (message: string) => void;
  /** Called once when nothing can be appended any more. */
  readonly onFatal: (error: Error) => void;
  /** Starts a thread of the engine. Default: the file of that name. */
  readonly startThread?: (name: ThreadName, path: string) => Worker;
}

export type ThreadName = 'writer-thread' | 'checkpointer-thread';

export interface SqliteStore extends EventStore {
  /** How long a reader has kept the write-ahead log from being reused; 0 if none does. */
  readonly walPinnedMs: number;
}

export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const { path, runtime, onError, onNotice, onFatal, startThread = startThreadFile } = options;
  const thread = startThread('writer-thread', path);
  const ready = await whenReady(thread);
  let epoch: string;
  try {
    epoch = readEpoch(path);
  } catch (error) {
    await thread.terminate();
    throw error;
  }
  const recent = recentAtStart(ready);
  const { clock, timers } = runtime;
  const lineage: Lineage = { epoch };
  const writer = createSqliteWriter({
    thread,
    lineage,
    headAtStart: ready.head,
    recent,
    clock,
    onError,
    onNotice,
    onFatal,
  });
  const reader = createSqliteReader({ path, lineage, recent, timers });
  const checkpointer = startThread('checkpointer-thread', path);
  const checkpointerEnded = new Promise<void>((resolve) => {
    checkpointer.once('exit', () => {
      resolve();
    });
  });
  let walPinnedMs = 0;
  checkpointer.on('message', (reply: CheckpointerReply) => {
    switch (reply.type) {
      case 'restart-wal':
        writer.restartWal();
        break;
      case 'wal':
        walPinnedMs = reply.pinnedMs;
        break;
      case 'notice':
        onNotice(reply.message);
        break;
      case 'fault':
        onError(new Error(reply.message));
        break;
    }
  });
  checkpointer.on('error', (error) => {
    onFatal(new Error(`the checkpointer thread failed: ${error.message}`, { cause: error }));
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
    bounds() {
      const { failure } = writer;
      return failure === undefined
        ? Promise.resolve({ epoch, floor: reader.floor(), head: writer.head })
        : Promise.reject(storeFailed(failure.message));
    },
    lastPlace: (accessIds, through = Infinity) => reader.lastPlace(accessIds, Math.min(through, writer.head)),
    async firstSince(accessId, createdAt) {
      await nextTurn(timers);
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
    get walPinnedMs() {
      return walPinnedMs;
    },
    async close() {
      checkpointer.postMessage('close');
      await checkpointerEnded;
      reader.close();
      await writer.close();
    },
  };
}

function startThreadFile(name: ThreadName, path: string): Worker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new Worker(new URL(`./${name}.${extension}`, import.meta.url), { workerData: { path } });
}

function recentAtStart({ indexed, unindexed }: ReadyReply): RecentPositions {
  const recent = createRecentPositions(indexed);
  unindexed.positions.forEach((position, index) => {
    recent.add(position, unindexed.accessIds[index] ?? '', unindexed.createdAts[index] ?? 0);
  });
  return recent;
}

function readEpoch(path: string): string {
  const db = new Database(path, { readonly: true });
  try {
    const epoch = db.prepare<[], string>('select epoch from log').pluck().get();
    if (epoch === undefined) {
      throw new LastseenError(
        'ERR_STORE_UNAVAILABLE',
        `${path} has no row in table log: it is not a whole lastseen database`,
      );
    }
    return epoch;
  } finally {
    db.close();
  }
}
