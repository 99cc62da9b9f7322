/** Backup and restore of an SQLite file, and its new epoch. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { Random, Runtime } from '../../runtime.ts';
import { newEpoch } from '../epoch.ts';
import { missingFile, openReadonly, readState } from './file.ts';
import { lockFile } from './lock.ts';

/** Copies the log to a new file, whole and consistent, while a server may be running over it. */
export function backupSqlite(path: string, to: string): void {
  if (existsSync(to)) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${to} exists already`);
  }
  const db = openReadonly(path);
  try {
    copyInto(db, to);
  } finally {
    db.close();
  }
}

/**
 * Puts the backup `from` in the place of the database at `path`, under a new epoch, so that cursors of what was lost
 * are refused. What stood there is kept beside it; returns its name, or `undefined` if there was nothing.
 * @throws ERR_STORE_LOCKED while a server runs over it
 */
export function restoreSqlite(
  path: string,
  from: string,
  { clock, random }: Pick<Runtime, 'clock' | 'random'>,
): string | undefined {
  const backup = openReadonly(from);
  mkdirSync(dirname(path), { recursive: true });
  const unlock = lockFile(path);
  const partial = `${path}-restoring`;
  try {
    const [check] = backup.pragma('quick_check') as { quick_check: string }[];
    if (check?.quick_check !== 'ok') {
      throw new LastseenError('ERR_REQUEST_INVALID', `${from} is damaged`);
    }
    readState(backup);
    rmSync(partial, { force: true });
    copyInto(backup, partial);
    const copy = new Database(partial);
    copy.prepare('update log set epoch = ?').run(newEpoch(random));
    copy.close();
    sync(partial);
    const aside = `${path}-before-${new Date(clock.now()).toISOString().replaceAll(':', '-')}`;
    const hadOne = existsSync(path);
    // The write-ahead log belongs to the file it was made for.
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(path + suffix)) {
        renameSync(path + suffix, aside + suffix);
      }
    }
    renameSync(partial, path);
    sync(dirname(path));
    return hadOne ? aside : undefined;
  } finally {
    backup.close();
    unlock();
  }
}

/** Gives the database at `path` a new epoch. @throws ERR_STORE_LOCKED while a server runs over it */
export function renewSqliteEpoch(path: string, random: Random): void {
  if (!existsSync(path)) {
    throw missingFile(path);
  }
  const unlock = lockFile(path);
  try {
    const db = new Database(path, { fileMustExist: true });
    db.prepare('update log set epoch = ?').run(newEpoch(random));
    db.close();
  } finally {
    unlock();
  }
}

/** Written beside and renamed, so that there is a whole file or none. */
function copyInto(db: Database.Database, to: string): void {
  const partial = `${to}-partial`;
  rmSync(partial, { force: true });
  db.prepare('vacuum into ?').run(partial);
  sync(partial);
  renameSync(partial, to);
}

function sync(path: string): void {
  const file = openSync(path, 'r');
  fsyncSync(file);
  closeSync(file);
}
