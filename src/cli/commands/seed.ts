/** lastseen seed */
import type { Command } from 'commander';
import { story, tell } from '../../../seeds/story.ts';
import { databaseOf, databaseOption, type DatabaseOptions } from '../io/database.ts';

export function addSeed(program: Command): void {
  databaseOption(
    program.command('seed').description('load a small story to look at; loading it again changes nothing'),
  ).action(async (options: DatabaseOptions) => {
    const appended = await tell(databaseOf(options));
    process.stdout.write(`${appended} of ${story.length} events were new\n`);
  });
}
