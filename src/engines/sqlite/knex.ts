/** How knex opens the SQLite file: for migrations, seeds and ordinary queries, never for the hot append. */
import type { Database } from 'better-sqlite3';
import type { Knex } from 'knex';

export function sqliteKnexConfig(path: string): Knex.Config {
  return {
    client: 'better-sqlite3',
    connection: { filename: path },
    useNullAsDefault: true,
    // An error shows the statement without what was bound to it, which may be personal.
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
