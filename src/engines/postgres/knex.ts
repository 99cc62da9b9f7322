/** How knex opens a PostgreSQL database: for migrations and for the tables of identity. Appends have a connection of their own. */
import type { Knex } from 'knex';

export function postgresKnexConfig(url: string): Knex.Config {
  return {
    client: 'pg',
    connection: url,
    pool: { min: 0, max: 2 },
    acquireConnectionTimeout: 10_000,
    // Error messages show the statement without its bound values, which may be personal data.
    compileSqlOnError: false,
  };
}
