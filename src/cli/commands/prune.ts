/** lastseen prune: applies a retention rule once, as a server with LASTSEEN_RETENTION does every minute. */
import type { Command } from 'commander';
import { openEngine } from '../../engines/open.ts';
import { LastseenError } from '../../errors.ts';
import { pruneRuleOf } from '../../log/retention.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readSettings } from '../io/settings.ts';

interface PruneOptions extends DatabaseOptions {
  readonly retention?: string;
  readonly trustClock?: boolean;
}

export function addPrune(program: Command): void {
  addDatabaseOption(
    program
      .command('prune')
      .description('delete the events that fall outside the retention rule')
      .option(
        '--retention <rule>',
        'for example 30d, 1000/access_id, or both with a comma [LASTSEEN_RETENTION]',
      )
      .option('--trust-clock', 'delete by age although the clock of the database has jumped'),
  )
    .addHelpText(
      'after',
      `
A server with LASTSEEN_RETENTION does this every minute. If the clock of the database has moved forwards by more than a
day, and by more than a tenth of the age, no event is deleted by its age until this command is run with --trust-clock.`,
    )
    .action(async (options: PruneOptions) => {
      const { database, retention } = readSettings({
        DATABASE_URL: options.databaseUrl,
        LASTSEEN_RETENTION: options.retention,
      });
      const rule = pruneRuleOf(retention);
      if (rule === undefined) {
        const message = 'there is no retention rule: pass --retention, for example 30d';
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      const { store } = await openEngine(database, { runtime: systemRuntime });
      try {
        const history = await store.open();
        process.stdout.write(
          `${await history.prune({ ...rule, trustsClock: options.trustClock === true })} events deleted\n`,
        );
        await history.close();
      } finally {
        await store.close();
      }
    });
}
