/** lastseen migrate */
import type { Command } from 'commander';
import { migrateDatabase } from '../../engines/open.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

export function addMigrate(program: Command): void {
  addDatabaseOption(
    program.command('migrate').description('run the migrations that the database lacks'),
  ).action(async (options: DatabaseOptions) => {
    const ran = await migrateDatabase(readDatabase(options), {
      timers: systemRuntime.timers,
      onNotice: (message) => process.stderr.write(`${message}\n`),
    });
    process.stdout.write(ran.length === 0 ? 'nothing to migrate\n' : `migrated: ${ran.join(', ')}\n`);
  });
}
