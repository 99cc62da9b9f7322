/**
 * The checkpointer thread of the SQLite engine: copies pages from the write-ahead log (WAL) into the file while the writer
 * appends, without its lock (a PASSIVE checkpoint). When the WAL has grown too large it asks the main thread to let the
 * writer start the WAL from its beginning again.
 */
import { statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { systemRuntime } from '../../system-runtime.ts';

/** WAL bytes from which a checkpoint is worth its flush, and from which the writer must restart the WAL. */
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
    // Busy or out of space: the WAL keeps everything, and the next round retries.
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
