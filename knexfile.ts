/** For the knex command line: `npx knex migrate:latest`, `npx knex seed:run`. The server runs migrations at its start. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Knex } from 'knex';
import { readConfig } from './src/config.ts';
import { migrationSource } from './src/engines/knex/migrate.ts';
import { knexConfigOf } from './src/engines/open.ts';

const { database } = readConfig(process.env);
if (database.kind === 'sqlite') {
  mkdirSync(dirname(database.path), { recursive: true });
}

const config: Knex.Config = {
  ...knexConfigOf(database),
  migrations: { migrationSource },
  seeds: { directory: './seeds', extension: 'ts', loadExtensions: ['.ts'] },
};

export default config;
