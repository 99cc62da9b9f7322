/** Opening an SQLite file of ours to read it, outside a running engine. */
import { existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { LogState } from '../archive.ts';

const selectState = (taggedFrom: string): string => `select epoch, floor, head, ${taggedFrom} as taggedFrom
  from (select *, max(coalesce((select max(position) from events), 0), floor - 1) as head from log)`;

/** @throws ERR_REQUEST_INVALID when there is no file, or it is not a lastseen database */
export function openReadonly(path: string): Database.Database {
  if (!existsSync(path)) {
    throw missingFile(path);
  }
  const db = new Database(path, { readonly: true, fileMustExist: true });
  try {
    readState(db);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

/** @throws ERR_REQUEST_INVALID when it is not a lastseen database */
export function readState(db: Database.Database): LogState {
  try {
    const state = db.prepare<[], LogState>(selectState(hasTags(db) ? 'tagged_from' : 'head + 1')).get();
    if (state !== undefined) {
      return state;
    }
  } catch (error) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${db.name} is no lastseen database`, { cause: error });
  }
  throw new LastseenError('ERR_REQUEST_INVALID', `${db.name} is not a whole lastseen database`);
}

/** False for a database of an earlier release, which `lastseen migrate` or a server has not opened yet. */
export function hasTags(db: Database.Database): boolean {
  const columns = db.prepare<[], string>(`select name from pragma_table_info('log')`).pluck().all();
  return columns.includes('tagged_from');
}

export function missingFile(path: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `there is no file ${path}`);
}
