/** lastseen migrate */
import type { Command } from 'commander';
import { migrateDatabase } from '../../engines/open.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { databaseOf, databaseOption, type DatabaseOptions } from '../io/database.ts';

export function addMigrate(program: Command): void {
  databaseOption(
    program.command('migrate').description('bring the database to the schema of this program'),
  ).action(async (options: DatabaseOptions) => {
    const ran = await migrateDatabase(databaseOf(options), systemRuntime);
    process.stdout.write(ran.length === 0 ? 'nothing to migrate\n' : `migrated: ${ran.join(', ')}\n`);
  });
}
