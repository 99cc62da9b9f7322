/**
 * The checkpointer thread of the SQLite engine: copies pages from the write-ahead log (WAL) into the file while the writer
 * appends, without its lock (a PASSIVE checkpoint). When the WAL has grown too large, and nearly all of it is in the file,
 * it asks the main thread to let the writer start the WAL from its beginning again. A reader that keeps its transaction
 * open prevents that: the thread says which process it is, and the writer goes on.
 */
import { statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { systemRuntime } from '../../system-runtime.ts';
import type { CheckpointerReply } from './thread-protocol.ts';
import { createPinWatch } from './wal-pin.ts';
import { readersOf } from './wal-readers.ts';

/** WAL bytes from which a checkpoint is worth its flush, and from which the writer must restart the WAL. */
const CHECKPOINT_BYTES = 4 * 1024 * 1024;
const RESTART_BYTES = 64 * 1024 * 1024;
const EVERY_MS = 200;

/** While a reader is in the way, a checkpoint makes no progress but costs a flush: it is tried less often. */
const PINNED_EVERY_MS = 1_000;

/** The longest pause between two requests to restart the WAL that a reader has prevented. */
const MAX_ASK_PAUSE_MS = 10_000;

/** A page and its frame header. */
const FRAME_BYTES = 4_096 + 24;

/** Frames that the writer copies at most when it restarts the WAL: some 10 ms. */
const MAX_LEFT_FRAMES = 2_048;

/** Passes of one round: each has less to copy than the one before. */
const MAX_PASSES = 4;

interface Progress {
  readonly busy: number;
  /** Frames in the WAL, and those of them that are in the file. */
  readonly log: number;
  readonly checkpointed: number;
}

const { clock, timers } = systemRuntime;
const { path } = workerData as { path: string };
const db = new Database(path, { fileMustExist: true });
db.pragma('busy_timeout = 0');
const pin = createPinWatch();
let askPauseMs = EVERY_MS;
let askedAt = Number.NEGATIVE_INFINITY;
let reportedMs = 0;
let isPinned = false;
let triedAt = Number.NEGATIVE_INFINITY;

const stop = timers.every(EVERY_MS, () => {
  const now = clock.steady();
  if (isPinned && now - triedAt < PINNED_EVERY_MS) {
    return;
  }
  triedAt = now;
  try {
    if (walBytes() >= CHECKPOINT_BYTES) {
      runRound();
    } else {
      watch({ busy: 0, log: 0, checkpointed: 0 });
    }
  } catch (error) {
    // Out of space, or a disk that fails: the WAL keeps everything, and the next round retries.
    const reason = error instanceof Error ? error.message : String(error);
    send({ type: 'fault', message: `checkpoint failed: ${reason}` });
  }
});

function runRound(): void {
  let progress = checkpoint();
  let before = -1;
  for (let pass = 1; pass < MAX_PASSES && left(progress) > MAX_LEFT_FRAMES; pass += 1) {
    if (progress.checkpointed === before) {
      break;
    }
    before = progress.checkpointed;
    progress = checkpoint();
  }
  watch(progress);
  if (progress.log * FRAME_BYTES <= RESTART_BYTES) {
    askPauseMs = EVERY_MS;
    return;
  }
  const now = clock.steady();
  const isCopied = left(progress) <= MAX_LEFT_FRAMES || progress.log * FRAME_BYTES > 4 * RESTART_BYTES;
  if (isPinned || !isCopied || now - askedAt < askPauseMs) {
    return;
  }
  askedAt = now;
  // Halved again as soon as the WAL is small: until then a reader is in the way.
  askPauseMs = Math.min(askPauseMs * 2, MAX_ASK_PAUSE_MS);
  send({ type: 'restart-wal' });
}

function checkpoint(): Progress {
  const [progress] = db.pragma('wal_checkpoint(PASSIVE)') as Progress[];
  return progress ?? { busy: 1, log: 0, checkpointed: 0 };
}

function left({ log, checkpointed }: Progress): number {
  return log - checkpointed;
}

/** Follows how long a reader has pinned the WAL, and tells the operator. */
function watch({ log, checkpointed }: Progress): void {
  const bytes = log * FRAME_BYTES;
  const { pinnedMs, isNews } = pin.observe({ log, checkpointed, bytes, now: clock.steady() });
  isPinned = pinnedMs > 0;
  if (pinnedMs !== reportedMs) {
    reportedMs = pinnedMs;
    send({ type: 'wal', pinnedMs });
  }
  if (isNews) {
    const mebibytes = Math.round(bytes / 1024 / 1024);
    const seconds = Math.round(pinnedMs / 1_000);
    const readers = readersOf(`${path}-shm`);
    send({
      type: 'notice',
      message: `the write-ahead log of ${path} has grown to ${mebibytes} MiB because a reader has kept a transaction open for ${seconds} s (${readers}): pushes go on, and the log shrinks when the reader ends`,
    });
  }
}

parentPort?.once('message', () => {
  stop();
  db.close();
  parentPort?.close();
});

function send(reply: CheckpointerReply): void {
  parentPort?.postMessage(reply);
}

function walBytes(): number {
  return statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}
