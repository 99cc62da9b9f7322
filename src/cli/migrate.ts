/** lastseen migrate */
import type { Command } from 'commander';
import { readConfig } from '../config.ts';
import { migrateDatabase } from '../engines/engine.ts';

export function addMigrate(program: Command): void {
  program
    .command('migrate')
    .description('bring the database to the schema of this program')
    .option('--database-url <url>', 'sqlite:PATH or postgres://… [DATABASE_URL]')
    .action(async (options: { databaseUrl?: string }) => {
      const config = readConfig({
        ...process.env,
        ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
      });
      const ran = await migrateDatabase(config.database);
      process.stdout.write(ran.length === 0 ? 'nothing to migrate\n' : `migrated: ${ran.join(', ')}\n`);
    });
}
