/** How knex opens a PostgreSQL database: for migrations and for the tables of identity. Appends have a connection of their own. */
import type { Knex } from 'knex';
import pg from 'pg';
import { type ConnectionPool, createPool } from './connection.ts';

const KNEX_CONNECTIONS = 2;

export interface KnexPoolOptions {
  /** A statement without an answer after this time has lost its server. Default: no limit, since migrations may be long. */
  readonly queryTimeoutMs?: number;
  /** Idle connections do not keep the process running. Default false. */
  readonly isBackground?: boolean;
}

/** The connections of one knex. Whoever makes the pool ends it. */
export function createKnexPool(
  url: string,
  { queryTimeoutMs = 0, isBackground = false }: KnexPoolOptions = {},
): ConnectionPool {
  return createPool(url, {
    max: KNEX_CONNECTIONS,
    access: 'primary',
    types: pg.types,
    queryTimeoutMs,
    isBackground,
  });
}

export function postgresKnexConfig(pool: ConnectionPool): Knex.Config {
  return {
    client: 'pg',
    connectionPool: pool,
    // Error messages show the statement without its bound values, which may be personal data.
    compileSqlOnError: false,
  };
}
