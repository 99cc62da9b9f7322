/** lastseen prune: what a running server does by LASTSEEN_RETENTION, once and now. */
import type { Command } from 'commander';
import { readConfig } from '../../config.ts';
import { openEngine } from '../../engines/open.ts';
import { LastseenError } from '../../errors.ts';
import { pruneRuleOf } from '../../log/retention.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { databaseOption, type DatabaseOptions } from '../io/database.ts';

export function addPrune(program: Command): void {
  databaseOption(
    program
      .command('prune')
      .description('forget the events that the rule gives up')
      .option('--retention <rule>', 'e.g. 30d, 1000/access_id, or both with a comma [LASTSEEN_RETENTION]'),
  )
    .addHelpText('after', '\nA server with LASTSEEN_RETENTION does this by itself every minute.')
    .action(async (options: DatabaseOptions & { retention?: string }) => {
      const { database, retention } = readConfig({
        ...process.env,
        ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
        ...(options.retention === undefined ? {} : { LASTSEEN_RETENTION: options.retention }),
      });
      const rule = pruneRuleOf(retention, systemRuntime.clock.now());
      if (rule === undefined) {
        const message = 'nothing says what to forget: give --retention, e.g. 30d';
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      const { store } = await openEngine(database, { runtime: systemRuntime });
      try {
        process.stdout.write(`${await store.prune(rule)} events forgotten\n`);
      } finally {
        await store.close();
      }
    });
}
