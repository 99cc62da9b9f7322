/** Opening an SQLite file of ours to read it, outside a running engine. */
import { existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { LogState } from '../archive.ts';

/** All columns of the row: a file of an earlier release, such as a backup, has fewer. */
const SELECT_STATE = `select max(coalesce((select max(position) from events), 0), floor - 1) as head, log.* from log`;

type LogRow = Omit<LogState, 'taggedFrom'> & { readonly tagged_from?: number };

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
    const row = db.prepare<[], LogRow>(SELECT_STATE).get();
    if (row !== undefined) {
      const { epoch, floor, head, tagged_from: taggedFrom = head + 1 } = row;
      return { epoch, floor, head, taggedFrom };
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
