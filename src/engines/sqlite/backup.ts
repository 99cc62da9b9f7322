/** Backup of an SQLite file, and its new epoch. */
import { existsSync, rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import { moveIntoPlace } from '../../atomic-file.ts';
import { LastseenError } from '../../errors.ts';
import type { Random } from '../../runtime.ts';
import { newEpoch } from '../epoch.ts';
import { copyLog } from './copy.ts';
import { missingFile, openReadonly } from './file.ts';
import { lockFile } from './lock.ts';

/**
 * Copies the log to a new file, complete and consistent, also while a server runs over it. The file has the name
 * `FILE-partial` until it is complete and on disk. Returns true if an interrupted backup had left such a file.
 * @throws ERR_REQUEST_INVALID when the new file exists, or `path` is not a lastseen database
 */
export function backupSqlite(path: string, backupPath: string): boolean {
  refuseExisting(backupPath);
  const db = openReadonly(path);
  const partial = `${backupPath}-partial`;
  const isLeft = existsSync(partial);
  try {
    removeDatabase(partial);
    copyLog(db, partial);
  } catch (error) {
    removeDatabase(partial);
    throw error;
  } finally {
    db.close();
  }
  refuseExisting(backupPath);
  moveIntoPlace(partial, backupPath);
  return isLeft;
}

function refuseExisting(path: string): void {
  if (existsSync(path)) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${path} exists already`);
  }
}

/** The files of SQLite that belong to one database, and would change another one that is put in its place. */
export const SIDE_FILES = ['-wal', '-journal'];

/** Removes a database, and what SQLite has left beside it. */
export function removeDatabase(path: string): void {
  for (const suffix of ['', ...SIDE_FILES, '-shm']) {
    rmSync(path + suffix, { force: true });
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

/** Gives a database that nobody else has open a new epoch. */
function setEpoch(path: string, random: Random): void {
  const db = new Database(path, { fileMustExist: true });
  try {
    db.prepare('update log set epoch = ?').run(newEpoch(random));
  } finally {
    db.close();
  }
}

/** Copies the whole database of a connection to a new file. */
export function copyInto(db: Database.Database, path: string): void {
  db.prepare('vacuum into ?').run(path);
}
