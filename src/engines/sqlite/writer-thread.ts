/**
 * The writer thread of the SQLite engine: the one connection that writes the log (G1). It appends one group of requests at
 * a time. Between groups it writes the deferred index and prunes, in slices. It waits for no reader and no checkpoint.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { systemRuntime } from '../../system-runtime.ts';
import { createSqliteAppender, readHead, refuseAll, type SqliteAppender } from './append.ts';
import { openDeferredIndex } from './deferred-index.ts';
import { createSqlitePruner, type SqlitePruner } from './prune.ts';
import type { UnindexedColumns, WriterMessage, WriterReply } from './thread-protocol.ts';
import { createTransactions, messageOf, type Transactions } from './transaction.ts';
import { checkFile, checkpointAtOnce, connectWriter, watchFile } from './writer-file.ts';

const port = parentPort;
if (port === null) {
  throw new Error('writer-thread.ts must run in a worker thread');
}

/** Pauses between attempts to check the file after a failed commit, and attempts before the process ends. */
const CHECK_EVERY_MS = 1_000;
const MAX_CHECKS = 10;

/** How often an idle writer looks whether its path is still its file. A busy one looks after each commit. */
const LOOK_EVERY_MS = 500;

const { clock, timers, random } = systemRuntime;
const { path } = workerData as { path: string };

let db = connectWriter(path);
/** Why nothing may be acknowledged: a flush failed, and the file has not been checked since. */
let doubt = checkAtStart();
const head = (): number => writing.appender.head;
let watch = watchFile(path, head);
const unindexed: UnindexedColumns = { positions: [], accessIds: [], createdAts: [] };
const index = openDeferredIndex(db, ({ position, accessId, createdAt }) => {
  unindexed.positions.push(position);
  unindexed.accessIds.push(accessId);
  unindexed.createdAts.push(createdAt);
});
const indexedAtStart = db.prepare<[], number>('select indexed from log').pluck().get() ?? 0;

interface Writing {
  readonly transactions: Transactions;
  readonly appender: SqliteAppender;
  readonly pruner: SqlitePruner;
}

let writing = startWriting();
let failedChecks = 0;
let pruning = new AbortController();
let isOver = false;

/** A crash may have come after a failed flush. @throws if the file cannot be written for another reason than lack of space */
function checkAtStart(): string | undefined {
  try {
    checkFile(db, path);
    return undefined;
  } catch (error) {
    if (!isLackOfSpace(error)) {
      throw error;
    }
    return `the file could not be flushed at the start (${messageOf(error)})`;
  }
}

function isLackOfSpace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /SQLITE_FULL|ENOSPC/.test(String(error.code));
}

function startWriting(): Writing {
  const transactions = createTransactions(db);
  const appender = createSqliteAppender({
    db,
    transactions,
    index,
    random,
    onIndexed: reportIndexed,
  });
  const pruner = createSqlitePruner({ db, transactions, head: () => appender.head, flushIndex, timers });
  return { transactions, appender, pruner };
}

function reportIndexed(through: number): void {
  send({ type: 'indexed', through });
}

/** Brings the index on disk up to the present head, in slices, so that appends get their turn. */
async function flushIndex(signal: AbortSignal): Promise<void> {
  const target = writing.appender.head;
  for (let through = 0; through < target && !signal.aborted;) {
    if (!index.isFlushing) {
      const end = index.startFlush({ isForced: true });
      if (end === undefined) {
        return;
      }
      send({ type: 'frozen' });
    }
    through = flushSlice() ?? through;
    await new Promise<void>((resolve) => {
      timers.soon(resolve);
    });
  }
}

function flushSlice(): number | undefined {
  writing.transactions.run(() => {
    index.writeSlice();
  });
  const through = index.committed();
  if (through !== undefined) {
    reportIndexed(through);
  }
  return through;
}

let isFlushPlanned = false;

/** Writes the next slice of a flush when no push waits. While pushes come, each commit writes a slice with it. */
function flushWhenIdle(): void {
  if (isFlushPlanned || isOver || !index.isFlushing) {
    return;
  }
  isFlushPlanned = true;
  timers.soon(() => {
    isFlushPlanned = false;
    if (isOver || doubt !== undefined || !index.isFlushing) {
      return;
    }
    try {
      flushSlice();
    } catch {
      noteDoubt();
      return; // The next push tries again.
    }
    flushWhenIdle();
  });
}

function send(reply: WriterReply): void {
  port?.postMessage(reply);
}

/** After a commit that failed: nothing is acknowledged until the file was checked. */
function noteDoubt(): void {
  if (doubt !== undefined || !writing.transactions.isDoubtful) {
    return;
  }
  doubt = 'a commit failed, and the file is being checked';
  failedChecks = 0;
  pruning.abort();
  send({ type: 'fault', message: `${doubt}: pushes are refused until a flush succeeds` });
  timers.soon(checkAgain);
}

function checkAgain(): void {
  if (isOver || doubt === undefined) {
    return;
  }
  const error = tryCheck();
  if (error === undefined) {
    return;
  }
  // Space can come back. Any other failure says that the disk cannot be trusted.
  if (!isLackOfSpace(error)) {
    failedChecks += 1;
  }
  if (failedChecks >= MAX_CHECKS) {
    endProcess(
      `${path} cannot be written: ${messageOf(error)}. The process ends, and nothing more is acknowledged`,
    );
    return;
  }
  timers.after(CHECK_EVERY_MS, checkAgain, { isBackground: true });
}

/** Opens the file again and checks it. Returns why that failed. */
function tryCheck(): unknown {
  const headBefore = writing.appender.head;
  try {
    db.close();
    db = connectWriter(path);
    checkFile(db, path);
    index.attach(db);
    if (readHead(db) !== headBefore) {
      endProcess(
        `${path} ends at position ${readHead(db)} after a failed commit, expected ${headBefore}: start again`,
      );
      return undefined;
    }
    writing = startWriting();
    const nextWatch = watchFile(path, head);
    watch.close();
    watch = nextWatch;
  } catch (error) {
    return error;
  }
  doubt = undefined;
  send({ type: 'notice', message: `${path} was opened again and flushed: pushes are accepted again` });
  return undefined;
}

function endProcess(message: string): void {
  if (isOver) {
    return;
  }
  isOver = true;
  pruning.abort();
  send({ type: 'fatal', message });
}

/** Ends the process when the path is another file: what is written into the old one would be lost. */
function isSameFile(): boolean {
  if (isOver) {
    return false;
  }
  const fault = watch.fault();
  if (fault === undefined) {
    return true;
  }
  watch.setWalAside();
  endProcess(`${fault}. The process ends, so that nothing more is acknowledged into the old log`);
  return false;
}

function append({ columns }: WriterMessage & { type: 'append' }): void {
  const recordedAt = clock.now();
  if (doubt !== undefined) {
    tryCheck();
  }
  const receipts =
    doubt === undefined ? writing.appender.append(columns, recordedAt) : refuseAll(columns, doubt);
  if (!isSameFile()) {
    return;
  }
  send({ type: 'appended', recordedAt, receipts, head: writing.appender.head });
  noteDoubt();
  if (doubt !== undefined) {
    return;
  }
  if (index.startFlush() !== undefined) {
    send({ type: 'frozen' });
  }
  flushWhenIdle();
}

async function prune(message: WriterMessage & { type: 'prune' }): Promise<void> {
  pruning = new AbortController();
  if (doubt !== undefined) {
    send({ type: 'pruned', pruned: 0, failed: doubt });
    return;
  }
  try {
    send({
      type: 'pruned',
      ...(await writing.pruner.prune(message.rule, { now: message.now, signal: pruning.signal })),
    });
  } catch (error) {
    send({ type: 'pruned', pruned: 0, failed: messageOf(error) });
    noteDoubt();
  }
}

function restartWal(): void {
  if (doubt !== undefined) {
    return;
  }
  // Most pages are in the file already: this copies the rest, and the WAL starts from its beginning again.
  try {
    checkpointAtOnce(db, 'RESTART');
  } catch {
    // A full disk: the WAL keeps everything, and the checkpointer asks again.
  }
}

function close(): void {
  isOver = true;
  pruning.abort();
  stopLooking();
  try {
    watch.close();
    checkpointAtOnce(db, 'TRUNCATE');
    db.close();
  } catch {
    // The WAL keeps everything, and the next start reads it.
  }
  send({ type: 'closed' });
  port?.close();
}

port.on('message', (message: WriterMessage) => {
  if (isOver) {
    return;
  }
  switch (message.type) {
    case 'append':
      append(message);
      break;
    case 'prune':
      void prune(message);
      break;
    case 'stop-pruning':
      pruning.abort();
      break;
    case 'restart-wal':
      restartWal();
      break;
    case 'close':
      close();
      break;
  }
});

if (doubt !== undefined) {
  timers.soon(checkAgain);
}
const stopLooking = timers.every(LOOK_EVERY_MS, isSameFile, { isBackground: true });
send({ type: 'ready', head: writing.appender.head, indexed: indexedAtStart, unindexed });
