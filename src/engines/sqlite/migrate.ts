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
  const knex = knexFactory(sqliteKnexConfig(path));
  try {
    settleRestore(path);
    return await migrate(knex);
  } finally {
    await knex.destroy();
    unlock();
  }
}
