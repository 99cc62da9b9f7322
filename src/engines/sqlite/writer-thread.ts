/**
 * The writer thread of the SQLite engine: the one connection that writes the log (WAL, `synchronous=FULL`: G1). It
 * appends one group of requests at a time; between groups it writes the deferred index and prunes.
 */
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { systemRuntime } from '../../system-runtime.ts';
import { createSqliteAppender, messageOf } from './append.ts';
import { openDeferredIndex } from './deferred-index.ts';
import { createSqlitePruner } from './prune.ts';
import type { WriterMessage, WriterReply } from './thread-protocol.ts';

const port = parentPort;
if (port === null) {
  throw new Error('writer-thread.ts must run in a worker thread');
}

const { clock, timers, random } = systemRuntime;
const db = new Database((workerData as { path: string }).path);
db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');
// A checkpoint inside a commit would delay that push: the checkpointer thread runs them.
db.pragma('wal_autocheckpoint = 0');
db.pragma('journal_size_limit = 67108864');
db.pragma('cache_size = -65536');
db.pragma('temp_store = memory');
db.pragma('busy_timeout = 5000');

const index = openDeferredIndex(db);
const appender = createSqliteAppender(db, {
  index,
  random,
  onIndexed: (through) => {
    send({ type: 'indexed', through });
  },
});
const pruner = createSqlitePruner(db, { flushIndex: flushAll, timers });
const writeSlice = db.transaction(() => {
  index.writeSlice();
});

function flushAll(): void {
  for (;;) {
    if (!index.isFlushing) {
      if (index.startFlush({ isForced: true }) === undefined) {
        return;
      }
      send({ type: 'frozen' });
    }
    flushSlice();
  }
}

function flushSlice(): void {
  writeSlice.immediate();
  const through = index.committed();
  if (through !== undefined) {
    send({ type: 'indexed', through });
  }
}

let isFlushPlanned = false;

/** Writes the next slice of a flush when no push waits. While pushes come, each commit writes a slice with it. */
function flushWhenIdle(): void {
  if (isFlushPlanned || !index.isFlushing) {
    return;
  }
  isFlushPlanned = true;
  timers.soon(() => {
    isFlushPlanned = false;
    try {
      flushSlice();
    } catch {
      return; // The next push tries again.
    }
    flushWhenIdle();
  });
}

function send(reply: WriterReply): void {
  port?.postMessage(reply);
}

port.on('message', (message: WriterMessage) => {
  switch (message.type) {
    case 'append': {
      const recordedAt = clock.now();
      const receipts = appender.append(message.columns, recordedAt);
      send({ type: 'appended', recordedAt, receipts, head: appender.head });
      if (index.startFlush() !== undefined) {
        send({ type: 'frozen' });
      }
      flushWhenIdle();
      break;
    }
    case 'prune':
      pruner.prune(message.rule).then(
        (pruned) => {
          send({ type: 'pruned', pruned });
        },
        (error: unknown) => {
          send({ type: 'pruned', pruned: 0, failed: messageOf(error) });
        },
      );
      break;
    case 'restart-wal':
      // Most pages are in the file already: this copies the rest, and the WAL starts from its beginning again.
      try {
        db.pragma('wal_checkpoint(RESTART)');
      } catch {
        // A full disk: the WAL keeps everything, and the checkpointer asks again.
      }
      break;
    case 'close':
      db.pragma('wal_checkpoint(TRUNCATE)');
      db.close();
      send({ type: 'closed' });
      port.close();
      break;
  }
});

send({ type: 'ready', head: appender.head });
