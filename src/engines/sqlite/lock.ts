/**
 * One process per file. The lock is SQLite's exclusive lock on a small file beside the database. The kernel releases it
 * when the process ends, for whatever reason, so no stale lock stays behind.
 */
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';

/**
 * Takes the lock for `path` and returns how to release it.
 * @throws ERR_STORE_LOCKED when another process has it.
 */
export function lockFile(path: string): () => void {
  const lock = new Database(`${path}-lock`, { timeout: 0 });
  try {
    lock.exec('begin exclusive');
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
