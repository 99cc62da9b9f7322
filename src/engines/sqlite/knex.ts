/** How knex opens the SQLite file: for migrations and for the tables of identity. Appends have a connection of their own. */
import type { Database } from 'better-sqlite3';
import type { Knex } from 'knex';

export function sqliteKnexConfig(path: string): Knex.Config {
  return {
    client: 'better-sqlite3',
    connection: { filename: path },
    useNullAsDefault: true,
    // Error messages show the statement without its bound values, which may be personal data.
    compileSqlOnError: false,
    pool: {
      min: 1,
      max: 1,
      afterCreate(connection: Database, done: (error: Error | null, connection: Database) => void) {
        connection.pragma('journal_mode = WAL');
        connection.pragma('synchronous = FULL');
        connection.pragma('busy_timeout = 5000');
        done(null, connection);
      },
    },
  };
}
