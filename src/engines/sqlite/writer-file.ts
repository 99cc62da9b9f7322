/**
 * The connection that writes the log (WAL, `synchronous=FULL`: G1), and the check of the file before it is trusted. After
 * a COMMIT that failed, frames of it can stand in the write-ahead log, and what a failed flush left on disk is not known.
 * The check opens the file again, copies the write-ahead log into the file with its flush, and empties it. See D42.
 */
import {
  type BigIntStats,
  closeSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import Database from 'better-sqlite3';
import { readHead } from './append.ts';
import { createTransactions } from './transaction.ts';

/** Time that a transaction waits for another writer, such as the tool of an operator. */
const WRITE_WAIT_MS = 5_000;

export function connectWriter(path: string): Database.Database {
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  // A checkpoint inside a commit would delay that push: the checkpointer thread runs them.
  db.pragma('wal_autocheckpoint = 0');
  db.pragma('journal_size_limit = 67108864');
  db.pragma('cache_size = -65536');
  db.pragma('temp_store = memory');
  db.pragma(`busy_timeout = ${WRITE_WAIT_MS}`);
  return db;
}

interface CheckpointResult {
  readonly busy: number;
}

/**
 * Makes sure that the write-ahead log holds no frame of a failed COMMIT, and that a flush succeeds.
 * @throws the error of SQLite or of the system: nothing may be acknowledged yet
 */
export function checkFile(db: Database.Database, path: string): void {
  if (checkpointAtOnce(db, 'TRUNCATE')) {
    flushFile(`${path}-wal`);
    return;
  }
  // A reader keeps the write-ahead log. A commit with its flush overwrites the first frame after the last valid one, and
  // the checksums of the frames behind it no longer fit.
  createTransactions(db).run(() => {
    db.exec('update log set indexed = indexed + 1; update log set indexed = indexed - 1');
  });
}

/** Runs a checkpoint that waits for nobody. Returns false if a reader or another checkpoint was in its way. */
export function checkpointAtOnce(db: Database.Database, mode: 'RESTART' | 'TRUNCATE'): boolean {
  db.pragma('busy_timeout = 0');
  try {
    const [result] = db.pragma(`wal_checkpoint(${mode})`) as CheckpointResult[];
    return result?.busy === 0;
  } finally {
    db.pragma(`busy_timeout = ${WRITE_WAIT_MS}`);
  }
}

function flushFile(path: string): void {
  const file = openSync(path, 'r+');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Whether the files at a path are still those that the writer has opened. */
export interface FileWatch {
  /** Returns what has replaced or changed them, or `undefined`. */
  fault(): string | undefined;
  /** Releases the write-ahead log. */
  close(): void;
  /** Moves a write-ahead log of the opened file aside: SQLite would apply it to the file that is there now. */
  setWalAside(): void;
}

const WAL_HEADER_BYTES = 32;

/** The file, and its size: a log never shrinks. */
type FileState = Pick<BigIntStats, 'dev' | 'ino' | 'size'>;

/**
 * Call it when the writer has opened the file: its write-ahead log is there then, and stays. `head` returns
 * the highest position that the writer has committed.
 */
export function watchFile(path: string, head: () => number): FileWatch {
  const wal = `${path}-wal`;
  let file = stateOf(path);
  const walFile = stateOf(wal);
  // Closing it affects no lock: SQLite has none on this file.
  const walHandle = openSync(wal, 'r');
  const header = Buffer.alloc(WAL_HEADER_BYTES);
  let cycle = walCycle();

  /** Reads the first salt of the header of the write-ahead log; `undefined` if it has no header. */
  function walCycle(): number | undefined {
    const bytes = readSync(walHandle, header, 0, WAL_HEADER_BYTES, 0);
    return bytes < WAL_HEADER_BYTES ? undefined : header.readUInt32BE(16);
  }

  return {
    fault() {
      const now = stateOf(path);
      if (now === undefined || file === undefined || !isSameFile(now, file)) {
        return `${path} is another file than the one that was opened: it was replaced while the server ran`;
      }
      if (now.size < file.size) {
        return `${path} has become smaller: another program has written into it while the server ran`;
      }
      file = now;
      if (!isSameFile(stateOf(wal), walFile)) {
        return `${wal} was removed or replaced while the server ran`;
      }
      const next = walCycle();
      // SQLite counts the cycles of a write-ahead log upwards, modulo 2^32. After a program has emptied the log, the
      // next number can be any: the end of the log tells whether this is an older one.
      const isBack = next !== undefined && cycle !== undefined && (next - cycle) >>> 0 >= 2 ** 31;
      if (isBack && !hasEnd(path, head())) {
        return `${wal} is an older one: another program has written into it while the server ran`;
      }
      cycle = next ?? cycle;
      return undefined;
    },
    close() {
      closeSync(walHandle);
    },
    setWalAside() {
      if (isSameFile(stateOf(wal), walFile)) {
        renameSync(wal, `${path}-left-wal`);
        rmSync(`${path}-shm`, { force: true });
      }
    },
  };
}

/** Whether a new connection, which has no pages in memory, reads the end of the log at this position. */
function hasEnd(path: string, head: number): boolean {
  try {
    const reader = new Database(path, { readonly: true });
    try {
      return readHead(reader) === head;
    } finally {
      reader.close();
    }
  } catch {
    // Pages of another log need not fit together.
    return false;
  }
}

function stateOf(path: string): FileState | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}

function isSameFile(a: FileState | undefined, b: FileState | undefined): boolean {
  return a?.dev === b?.dev && a?.ino === b?.ino;
}
