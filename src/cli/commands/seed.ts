/** lastseen seed */
import type { Command } from 'commander';
import { appendStory, story } from '../../../seeds/story.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

export function addSeed(program: Command): void {
  addDatabaseOption(
    program.command('seed').description('append a small example log; repeating it appends nothing'),
  ).action(async (options: DatabaseOptions) => {
    const appended = await appendStory(readDatabase(options));
    process.stdout.write(`${appended} of ${story.length} events were new\n`);
  });
}
