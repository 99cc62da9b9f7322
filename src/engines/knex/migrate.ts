/** Brings a database to the schema this code knows, by knex. */
import type { Knex } from 'knex';
import { type Migration, migrations } from '../../../migrations/index.ts';
import { LastseenError } from '../../errors.ts';

/** The migrations by name, so that they are the same whether they run from source or from `dist`. */
export const migrationSource: Knex.MigrationSource<Migration> = {
  // `knex migrate:status` shows the field `file`.
  getMigrations: () =>
    Promise.resolve(migrations.map((migration) => ({ ...migration, file: migration.name }))),
  getMigrationName: (migration) => migration.name,
  getMigration: (migration) => Promise.resolve(migration),
};

/**
 * Runs what is missing and returns the names of what ran.
 * @throws ERR_STORE_UNAVAILABLE when the database is newer than this code.
 */
export async function migrate(knex: Knex): Promise<string[]> {
  await refuseNewer(knex);
  const [, ran] = (await knex.migrate.latest({ migrationSource })) as [number, string[]];
  return ran;
}

/** True if the database has a schema of ours to which migrations are missing. */
export async function isUpgrade(knex: Knex): Promise<boolean> {
  const done = await completed(knex);
  return done.length > 0 && migrations.some((migration) => !done.includes(migration.name));
}

/** @throws ERR_STORE_UNAVAILABLE when migrations are missing, or the database is newer than this code. */
export async function requireMigrated(knex: Knex): Promise<void> {
  await refuseNewer(knex);
  const done = await completed(knex);
  const missing = migrations.filter((migration) => !done.includes(migration.name));
  if (missing.length === 0) {
    return;
  }
  const names = missing.map((migration) => migration.name).join(', ');
  throw new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `the database lacks migrations (${names}): run "lastseen migrate"`,
  );
}

async function refuseNewer(knex: Knex): Promise<void> {
  const unknown = (await completed(knex)).filter(
    (done) => !migrations.some((migration) => migration.name === done),
  );
  if (unknown.length === 0) {
    return;
  }
  throw new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `the database is newer than this program (it has ${unknown.join(', ')}): upgrade lastseen`,
  );
}

async function completed(knex: Knex): Promise<string[]> {
  if (!(await knex.schema.hasTable('knex_migrations'))) {
    return [];
  }
  const rows = await knex<{ name: string }>('knex_migrations').select('name');
  return rows.map((row) => row.name);
}
