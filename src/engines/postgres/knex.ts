/** How knex opens a PostgreSQL database: for migrations, seeds and ordinary queries, never for the hot append. */
import type { Knex } from 'knex';

export function postgresKnexConfig(url: string): Knex.Config {
  return {
    client: 'pg',
    connection: url,
    pool: { min: 0, max: 2 },
    acquireConnectionTimeout: 10_000,
    // An error shows the statement without what was bound to it, which may be personal.
    compileSqlOnError: false,
  };
}
