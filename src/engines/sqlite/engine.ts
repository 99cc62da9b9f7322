/**
 * The SQLite engine: one file, one process (G1, G2, G4, G5). Locks the file, migrates it, and puts together the store
 * and the tables of identity.
 */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import knexFactory from 'knex';
import { LastseenError } from '../../errors.ts';
import { noPeers } from '../../peers.ts';
import type { Engine, EngineOptions } from '../engine.ts';
import { createIdentityStores } from '../knex/identity.ts';
import { migrate, requireMigrated } from '../knex/migrate.ts';
import { refuseUnfinishedImport } from './archive.ts';
import { sqliteKnexConfig } from './knex.ts';
import { lockFile, realPathOf } from './lock.ts';
import { settleRestore } from './restore.ts';
import { openSqliteStore } from './store.ts';

export interface SqliteEngineOptions extends EngineOptions {
  /** File of the database; its directory is made if it is missing. */
  readonly path: string;
}

/**
 * Locks, migrates and opens the file.
 * @throws ERR_STORE_LOCKED when another process has it, ERR_STORE_UNAVAILABLE when its schema does not fit
 */
export async function openSqliteEngine(options: SqliteEngineOptions): Promise<Engine> {
  const {
    runtime,
    onError = () => undefined,
    onNotice = () => undefined,
    onFatal = () => undefined,
  } = options;
  mkdirSync(dirname(options.path), { recursive: true });
  const path = realPathOf(options.path);
  const unlock = lockFile(path);
  try {
    refuseLostDatabase(path);
  } catch (error) {
    unlock();
    throw error;
  }
  const knex = knexFactory(sqliteKnexConfig(path));
  try {
    const notice = settleRestore(path);
    if (notice !== undefined) {
      onNotice(notice);
    }
    await (options.migrate === false ? requireMigrated(knex) : migrate(knex));
    await refuseUnfinishedImport(knex, path);
    const store = await openSqliteStore({ path, runtime, onError, onNotice, onFatal });
    return {
      store: {
        ...store,
        async close() {
          await store.close();
          await knex.destroy();
          unlock();
        },
      },
      identity: createIdentityStores(knex),
      peers: noPeers(),
      wal: {
        bytes: () => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0,
        pinnedMs: () => store.walPinnedMs,
      },
    };
  } catch (error) {
    await knex.destroy();
    unlock();
    throw error;
  }
}

/**
 * A write-ahead log with content and no database beside it: acknowledged events are in it, and SQLite would delete it.
 * @throws ERR_STORE_UNAVAILABLE
 */
function refuseLostDatabase(path: string): void {
  const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (sizeOf(path) === 0 && sizeOf(`${path}-wal`) > 0) {
    throw new LastseenError(
      'ERR_STORE_UNAVAILABLE',
      `${path} is missing or empty, but ${path}-wal is there and can hold acknowledged events: put the database back, or delete ${path}-wal to begin with an empty log`,
    );
  }
}
