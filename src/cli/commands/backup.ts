/** lastseen backup, lastseen restore. */
import type { Command } from 'commander';
import { renewEpoch } from '../../engines/open.ts';
import { backupSqlite, restoreSqlite } from '../../engines/sqlite/backup.ts';
import { LastseenError } from '../../errors.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { databaseOf, databaseOption, type DatabaseOptions } from '../io/database.ts';

export function addBackup(program: Command): void {
  databaseOption(
    program
      .command('backup')
      .description('copy the SQLite database to FILE, whole and consistent, while the server runs')
      .argument('<file>', 'must not exist'),
  )
    .addHelpText(
      'after',
      '\nThe file is a lastseen database itself. PostgreSQL is backed up by its own tools.',
    )
    .action((file: string, options: DatabaseOptions) => {
      const database = databaseOf(options);
      if (database.kind !== 'sqlite') {
        const message = 'PostgreSQL is backed up by its own tools, such as pg_dump (docs/operations.md)';
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      backupSqlite(database.path, file);
      process.stderr.write(`backed up to ${file}\n`);
    });
}

export function addRestore(program: Command): void {
  databaseOption(
    program
      .command('restore')
      .description('put a backup in the place of the database, under a new epoch')
      .argument('[file]', 'a backup; without it the database as it stands gets a new epoch'),
  )
    .addHelpText(
      'after',
      `
With the new epoch every cursor of before is refused with ERR_CURSOR_EPOCH, so that no client silently misses what was
lost. PostgreSQL: restore with its own tools, then run "lastseen restore" without a file. The database that stood in
the place of a SQLite file is kept beside it.`,
    )
    .action(async (file: string | undefined, options: DatabaseOptions) => {
      const database = databaseOf(options);
      if (file === undefined) {
        await renewEpoch(database, systemRuntime);
      } else if (database.kind === 'postgres') {
        const message = 'PostgreSQL is restored by its own tools; then run "lastseen restore" without a file';
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      } else {
        const aside = restoreSqlite(database.path, file, systemRuntime);
        if (aside !== undefined) {
          process.stderr.write(`what stood there is kept as ${aside}\n`);
        }
      }
      process.stderr.write(
        'the log has a new epoch: clients are told that their cursors are of another one\n',
      );
    });
}
