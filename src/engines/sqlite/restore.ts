/**
 * Replaces an SQLite database by a backup. One rename is the moment of the restore: a process that ends before it leaves
 * the old log, one that ends after it leaves the restored log, each whole. What an interrupted restore has left beside
 * the database says which of the two it is. The next start and the next restore read it (`settleRestore`).
 *
 *     FILE-restoring   the copy of the backup, being written
 *     FILE-restored    the complete copy: the restore has not happened yet
 *     FILE-replaced    the old log; without FILE-restored, the restore has happened
 *     FILE-before-…    the old log, kept
 */
import {
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { moveIntoPlace, syncDirectory } from '../../atomic-file.ts';
import { LastseenError } from '../../errors.ts';
import { copyInto, removeDatabase, SIDE_FILES } from './backup.ts';
import { openReadonly } from './file.ts';
import { lockFile, REPLACED_SUFFIX } from './lock.ts';

export interface RestoreOptions {
  /** Called before each step. A test ends the process there. */
  readonly onStep?: (step: string) => void;
}

export interface Restored {
  /** Where the replaced database is kept; `undefined` if there was none. */
  readonly keptPath: string | undefined;
  /** What an earlier restore, which was interrupted, has left. */
  readonly notice: string | undefined;
}

/**
 * Replaces the database at `path` by the backup. The replaced database is kept beside it, with all that was in its
 * write-ahead log. The epoch stays: each cursor proves whether the restored log has its history (G13).
 * @throws ERR_STORE_LOCKED while another process has it open, ERR_REQUEST_INVALID when the backup is damaged
 */
export function restoreSqlite(
  name: string,
  backupPath: string,
  { onStep = () => undefined }: RestoreOptions = {},
): Restored {
  const backup = openReadonly(backupPath);
  const unlocks: (() => void)[] = [];
  try {
    mkdirSync(dirname(name), { recursive: true });
    // A symbolic link stays: the file that it points to is replaced.
    const path = existsSync(name) ? realpathSync(name) : name;
    unlocks.push(lockFile(path));
    const names = namesOf(path);
    const notice = earlierNotice(settle(path));
    const [check] = backup.pragma('quick_check') as { quick_check: string }[];
    if (check?.quick_check !== 'ok') {
      throw new LastseenError('ERR_REQUEST_INVALID', `${backupPath} is damaged`);
    }
    onStep('remove what an earlier restore has left');
    removeDatabase(names.restoring);
    removeDatabase(names.restored);
    onStep('copy the backup');
    copyInto(backup, names.restoring);
    onStep('name the copy complete');
    moveIntoPlace(names.restoring, names.restored);
    const isReplacing = existsSync(path);
    if (isReplacing) {
      onStep('close the old log');
      const isWhole = foldWriteAheadLog(path);
      onStep('keep the old log');
      keepBeside(path, names);
      if (!isWhole) {
        onStep('keep the write-ahead log of a damaged log');
        moveSideFiles(path, names.replaced);
      }
    } else {
      // SQLite would apply a write-ahead log that has lost its database to the restored one.
      moveSideFiles(path, keptPathOf(path, `${path}-wal`));
    }
    rmSync(`${path}-shm`, { force: true });
    onStep('put the restored log into its place');
    moveIntoPlace(names.restored, path);
    onStep('name the kept log');
    return { keptPath: isReplacing ? finish(path) : undefined, notice };
  } finally {
    backup.close();
    for (const unlock of unlocks) {
      unlock();
    }
  }
}

/**
 * Reads what an interrupted restore has left beside the database, and completes or undoes it. The caller holds the lock.
 * Returns what the operator should know.
 * @throws ERR_STORE_UNAVAILABLE when the restore was interrupted and there is no log
 */
export function settleRestore(path: string): string | undefined {
  const left = settle(path);
  if (left === undefined) {
    return undefined;
  }
  if (left !== 'unfinished') {
    return `a restore of ${path} was interrupted after its last step: the log is the restored one, and the replaced database is kept as ${left.keptPath}`;
  }
  if (hasLog(path)) {
    return `a restore of ${path} did not finish: this is the log from before it. Stop the server and run "lastseen restore FILE" again, or delete ${path}-restored and ${path}-restoring`;
  }
  throw new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `a restore of ${path} did not finish, and there is no log: run "lastseen restore FILE" again. To begin with an empty log instead, delete ${path}-restored and ${path}-restoring`,
  );
}

function earlierNotice(left: Left | undefined): string | undefined {
  if (left === undefined) {
    return undefined;
  }
  return left === 'unfinished'
    ? 'an earlier restore did not finish: its files are removed'
    : `an earlier restore was interrupted after its last step: the database that it replaced is kept as ${left.keptPath}`;
}

/** What an interrupted restore has left: files of a restore that has not happened, or an old log to keep. */
type Left = 'unfinished' | { readonly keptPath: string };

function settle(path: string): Left | undefined {
  const names = namesOf(path);
  rmSync(names.replacing, { force: true });
  if (existsSync(names.restored) || existsSync(names.restoring)) {
    // The old log is in its place, under two names perhaps.
    moveSideFiles(names.replaced, path);
    rmSync(names.replaced, { force: true });
    syncDirectory(path);
    return 'unfinished';
  }
  return existsSync(names.replaced) ? { keptPath: finish(path) } : undefined;
}

/** Gives the old log the name under which it is kept. */
function finish(path: string): string {
  const { replaced } = namesOf(path);
  const keptPath = keptPathOf(path, replaced);
  moveSideFiles(replaced, keptPath);
  moveIntoPlace(replaced, keptPath);
  return keptPath;
}

/** The name for a file that is kept. It has the time of the last change, so that an interrupted step finds it again. */
function keptPathOf(path: string, file: string): string {
  const changedAt = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const name = `${path}-before-${new Date(changedAt).toISOString().replaceAll(':', '-')}`;
  let keptPath = name;
  for (let count = 2; existsSync(keptPath); count += 1) {
    keptPath = `${name}-${count}`;
  }
  return keptPath;
}

interface Names {
  readonly restoring: string;
  readonly restored: string;
  readonly replacing: string;
  readonly replaced: string;
}

function namesOf(path: string): Names {
  return {
    restoring: `${path}-restoring`,
    restored: `${path}-restored`,
    replacing: `${path}-replacing`,
    replaced: path + REPLACED_SUFFIX,
  };
}

/**
 * Copies the write-ahead log into the file and removes it, so that the file alone is the whole log. Returns false for a
 * file that SQLite cannot read.
 * @throws ERR_STORE_LOCKED when another program has the file open
 */
function foldWriteAheadLog(path: string): boolean {
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { fileMustExist: true, timeout: 1_000 });
    db.pragma('synchronous = FULL');
    // Reading applies what a crash has left.
    db.prepare('select count(*) from sqlite_master').get();
    db.pragma('journal_mode = DELETE');
    return SIDE_FILES.every((suffix) => !existsSync(path + suffix));
  } catch (error) {
    if (error instanceof Database.SqliteError && /^SQLITE_(BUSY|LOCKED)/.test(error.code)) {
      const message = `${path} is open in another program, such as an SQL tool: close it, then repeat`;
      throw new LastseenError('ERR_STORE_LOCKED', message, { cause: error });
    }
    return false;
  } finally {
    db?.close();
  }
}

/** Gives the old log a second name; where the file system knows no links, a copy gets it. */
function keepBeside(path: string, { replacing, replaced }: Names): void {
  try {
    linkSync(path, replaced);
    syncDirectory(path);
  } catch {
    copyFileSync(path, replacing, constants.COPYFILE_FICLONE);
    moveIntoPlace(replacing, replaced);
  }
}

/** True if the file has a log: a database that SQLite has made for a reader is empty. A damaged file counts as a log. */
function hasLog(path: string): boolean {
  if (!existsSync(path)) {
    return false;
  }
  const db = new Database(path, { readonly: true });
  try {
    return db.prepare(`select 1 from sqlite_master where name = 'log'`).get() !== undefined;
  } catch {
    return true;
  } finally {
    db.close();
  }
}

function moveSideFiles(from: string, to: string): void {
  for (const suffix of SIDE_FILES) {
    if (existsSync(from + suffix)) {
      moveIntoPlace(from + suffix, to + suffix);
    }
  }
}
