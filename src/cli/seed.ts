/** lastseen seed */
import type { Command } from 'commander';
import { story, tell } from '../../seeds/story.ts';
import { readConfig } from '../config.ts';

export function addSeed(program: Command): void {
  program
    .command('seed')
    .description('load a small story to look at; loading it again changes nothing')
    .option('--database-url <url>', 'sqlite:PATH or postgres://… [DATABASE_URL]')
    .action(async (options: { databaseUrl?: string }) => {
      const config = readConfig({
        ...process.env,
        ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
      });
      const appended = await tell(config.database);
      process.stdout.write(`${String(appended)} of ${String(story.length)} events were new\n`);
    });
}
