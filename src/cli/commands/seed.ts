/** lastseen seed */
import type { Command } from 'commander';
import { appendStory, story } from '../../../seeds/story.ts';
import { addDatabaseOption, type DatabaseOptions, readDatabase } from '../io/database.ts';

export function addSeed(program: Command): void {
  addDatabaseOption(
    program.command('seed').description('load a small story to look at; loading it again changes nothing'),
  ).action(async (options: DatabaseOptions) => {
    const appended = await appendStory(readDatabase(options));
    process.stdout.write(`${appended} of ${story.length} events were new\n`);
  });
}
