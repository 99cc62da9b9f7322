/**
 * The checkpointer thread of the SQLite engine: copies pages from the WAL into the file beside the writer, without
 * taking its lock (a PASSIVE checkpoint), and tells the main thread when the WAL has grown so far that the writer
 * should begin it anew.
 */
import { statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { systemRuntime } from '../../system-runtime.ts';

/** WAL bytes from which a checkpoint is worth its flush, and from which the writer is asked to begin anew. */
const CHECKPOINT_BYTES = 4 * 1024 * 1024;
const RESTART_BYTES = 64 * 1024 * 1024;
const EVERY_MS = 200;

const { path } = workerData as { path: string };
const db = new Database(path, { fileMustExist: true });
db.pragma('busy_timeout = 0');

const stop = systemRuntime.timers.every(EVERY_MS, () => {
  const bytes = walBytes();
  if (bytes < CHECKPOINT_BYTES) {
    return;
  }
  try {
    db.pragma('wal_checkpoint(PASSIVE)');
    if (bytes > RESTART_BYTES) {
      parentPort?.postMessage({ type: 'restart-wal' });
    }
  } catch (error) {
    // Busy or out of space: the WAL keeps everything, and the next round tries again.
    parentPort?.postMessage({
      type: 'failed',
      message: error instanceof Error ? error.message : String(error),
    });
  }
});

parentPort?.once('message', () => {
  stop();
  db.close();
  parentPort?.close();
});

function walBytes(): number {
  return statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}
