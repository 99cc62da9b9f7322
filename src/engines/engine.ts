/** What an engine gives the rest of the house, and which engine a DATABASE_URL names. */
import type { IdentityStore } from '../identity/store.ts';
import type { EventStore } from '../log/store.ts';
import type { Peers } from '../peers.ts';
import { migratePostgres, openPostgres } from './postgres/engine.ts';
import { migrateSqlite, openSqlite } from './sqlite/engine.ts';

export interface Engine {
  readonly store: EventStore;
  readonly identity: IdentityStore;
  readonly peers: Peers;
  /** Bytes of the write-ahead log, where it is a file of ours. */
  readonly walBytes?: () => number;
}

/** Where the log is kept. */
export type Database =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'postgres';
      /** May hold a password: never shown. */
      readonly url: string;
      /** Direct address for LISTEN; `undefined` polls only. */
      readonly listenUrl: string | undefined;
    };

export interface EngineOptions {
  /** Run missing migrations (default) or refuse to open without them. */
  readonly migrate?: boolean;
  /** Told of failures that have no caller. */
  readonly onError?: (error: unknown) => void;
  /** Told once what the operator should know. */
  readonly onNotice?: (message: string) => void;
}

/** @throws ERR_STORE_LOCKED, ERR_STORE_UNAVAILABLE */
export function openEngine(database: Database, options: EngineOptions = {}): Promise<Engine> {
  return database.kind === 'sqlite'
    ? openSqlite({ ...options, path: database.path })
    : openPostgres({ ...options, url: database.url, listenUrl: database.listenUrl });
}

/** Runs missing migrations and returns their names. @throws ERR_STORE_LOCKED, ERR_STORE_UNAVAILABLE */
export function migrateDatabase(database: Database): Promise<string[]> {
  return database.kind === 'sqlite' ? migrateSqlite(database.path) : migratePostgres(database.url);
}
