/**
 * One process per file. The lock is SQLite's exclusive lock on a small file beside the database. The kernel releases it
 * when the process ends, for whatever reason, so no stale lock stays behind. Symbolic links are followed first. A file
 * with a second name (hard link) is refused: SQLite keeps the write-ahead log beside a name, so two names have two logs.
 */
import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';

/**
 * Takes the lock for the file at `path` and returns how to release it.
 * @throws ERR_STORE_LOCKED when another process has it, or the file has several names
 */
export function lockFile(path: string): () => void {
  const file = realPathOf(path);
  const lock = new Database(`${file}-lock`, { timeout: 0 });
  try {
    lock.exec('begin exclusive');
    refuseSecondName(file);
  } catch (error) {
    lock.close();
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      const message = `${path} is in use by another lastseen process: stop it first, or choose another DATABASE_URL`;
      throw new LastseenError('ERR_STORE_LOCKED', message, { cause: error });
    }
    throw error;
  }
  return () => {
    lock.close();
  };
}

/** The path without symbolic links, as SQLite opens it. The file may be missing; its directory must exist. */
export function realPathOf(path: string): string {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) {
    return join(realpathSync(dirname(path)), basename(path));
  }
  // A link whose target is missing: SQLite makes the target.
  return stats.isSymbolicLink() ? realPathOf(resolve(dirname(path), readlinkSync(path))) : realpathSync(path);
}

/** Suffix of the second name that a restore gives to the old log. A restore that was interrupted leaves it. */
export const REPLACED_SUFFIX = '-replaced';

function refuseSecondName(file: string): void {
  const stats = statSync(file, { throwIfNoEntry: false });
  const replaced = statSync(file + REPLACED_SUFFIX, { throwIfNoEntry: false });
  const own = replaced !== undefined && replaced.ino === stats?.ino && replaced.dev === stats.dev ? 2 : 1;
  const names = stats?.nlink ?? 1;
  if (names > own) {
    throw new LastseenError(
      'ERR_STORE_LOCKED',
      `${file} has ${names} names (hard links), expected 1: another process could write it under another name. Remove the other names`,
    );
  }
}
