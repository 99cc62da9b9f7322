/** Migrations of an SQLite file. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import knexFactory from 'knex';
import { migrate } from '../knex/migrate.ts';
import { sqliteKnexConfig } from './knex.ts';
import { lockFile } from './lock.ts';
import { settleRestore } from './restore.ts';

/** Runs missing migrations and returns their names. @throws ERR_STORE_LOCKED, ERR_STORE_UNAVAILABLE */
export async function migrateSqlite(path: string): Promise<string[]> {
  mkdirSync(dirname(path), { recursive: true });
  const unlock = lockFile(path);
  try {
    settleRestore(path);
    return await migrateLocked(path);
  } finally {
    unlock();
  }
}

/** As `migrateSqlite`, for a caller that holds the lock. */
export async function migrateLocked(path: string): Promise<string[]> {
  const knex = knexFactory(sqliteKnexConfig(path));
  try {
    return await migrate(knex);
  } finally {
    await knex.destroy();
  }
}
