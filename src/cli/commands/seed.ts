/** lastseen seed */
import type { Command } from 'commander';
import { appendStory, story } from '../../../seeds/story.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

export function addSeed(program: Command): void {
  addDatabaseOption(
    program.command('seed').description('load a small story to look at; loading it again changes nothing'),
  ).action(async (options: DatabaseOptions) => {
    const appended = await appendStory(readDatabase(options));
    process.stdout.write(`${appended} of ${story.length} events were new\n`);
  });
}
