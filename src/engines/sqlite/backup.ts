/** Backup and restore of an SQLite file, and its new epoch. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { moveIntoPlace } from '../../atomic-file.ts';
import { LastseenError } from '../../errors.ts';
import type { Random, Runtime } from '../../runtime.ts';
import { newEpoch } from '../epoch.ts';
import { copyLog } from './copy.ts';
import { missingFile, openReadonly, readState } from './file.ts';
import { lockFile } from './lock.ts';

/**
 * Copies the log to a new file, complete and consistent, also while a server runs over it.
 * @throws ERR_REQUEST_INVALID when the new file exists, or `path` is not a lastseen database
 */
export function backupSqlite(path: string, backupPath: string): void {
  if (existsSync(backupPath)) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${backupPath} exists already`);
  }
  const db = openReadonly(path);
  const partial = `${backupPath}-partial`;
  try {
    copyLog(db, partial);
  } finally {
    db.close();
  }
  moveIntoPlace(partial, backupPath);
}

/**
 * Replaces the database at `path` by the backup, under a new epoch, so that the server refuses cursors of what was lost.
 * The replaced database is kept beside it: returns its name, or `undefined` if there was none.
 * @throws ERR_STORE_LOCKED while a server runs over it, ERR_REQUEST_INVALID when the backup is damaged
 */
export function restoreSqlite(
  path: string,
  backupPath: string,
  { clock, random }: Pick<Runtime, 'clock' | 'random'>,
): string | undefined {
  const backup = openReadonly(backupPath);
  mkdirSync(dirname(path), { recursive: true });
  const unlock = lockFile(path);
  const partial = `${path}-restoring`;
  const complete = `${path}-restored`;
  try {
    const [check] = backup.pragma('quick_check') as { quick_check: string }[];
    if (check?.quick_check !== 'ok') {
      throw new LastseenError('ERR_REQUEST_INVALID', `${backupPath} is damaged`);
    }
    readState(backup);
    copyInto(backup, partial);
    setEpoch(partial, random);
    // On disk before the old file leaves its place.
    moveIntoPlace(partial, complete);
    const replacedPath = `${path}-before-${new Date(clock.now()).toISOString().replaceAll(':', '-')}`;
    const isReplacing = existsSync(path);
    // The write-ahead log belongs to the file it was made for.
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(path + suffix)) {
        renameSync(path + suffix, replacedPath + suffix);
      }
    }
    moveIntoPlace(complete, path);
    return isReplacing ? replacedPath : undefined;
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
    setEpoch(path, random);
  } finally {
    unlock();
  }
}

function setEpoch(path: string, random: Random): void {
  const db = new Database(path, { fileMustExist: true });
  try {
    db.prepare('update log set epoch = ?').run(newEpoch(random));
  } finally {
    db.close();
  }
}

function copyInto(db: Database.Database, path: string): void {
  rmSync(path, { force: true });
  db.prepare('vacuum into ?').run(path);
}
