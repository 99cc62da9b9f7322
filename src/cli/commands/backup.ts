/** lastseen backup, lastseen restore. */
import type { Command } from 'commander';
import { renewEpoch } from '../../engines/open.ts';
import { backupSqlite } from '../../engines/sqlite/backup.ts';
import { restoreSqlite } from '../../engines/sqlite/restore.ts';
import { LastseenError } from '../../errors.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

export function addBackup(program: Command): void {
  addDatabaseOption(
    program
      .command('backup')
      .description('copy the SQLite database to FILE, complete and consistent, also while a server runs')
      .argument('<file>', 'file to create; it must not exist'),
  )
    .addHelpText(
      'after',
      '\nThe backup is a complete lastseen database. PostgreSQL has its own backup tools, such as pg_dump.',
    )
    .action((file: string, options: DatabaseOptions) => {
      const database = readDatabase(options);
      if (database.kind !== 'sqlite') {
        const message =
          'lastseen backup is for SQLite: back up PostgreSQL with its own tools, such as pg_dump';
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      if (backupSqlite(database.path, file)) {
        process.stderr.write(`removed ${file}-partial, which an interrupted backup had left\n`);
      }
      process.stderr.write(`backed up to ${file}\n`);
    });
}

export function addRestore(program: Command): void {
  addDatabaseOption(
    program
      .command('restore')
      .description('replace the SQLite database with a backup')
      .argument('[file]', 'backup to restore; omitted: only give the present database a new epoch'),
  )
    .addHelpText(
      'after',
      `
Clients continue with their cursors. The server refuses the cursor of an event that the restored log lacks, with
ERR_CURSOR_DIVERGED. The replaced database is kept beside the new one. A restore that is interrupted has either not
happened or is complete: the next start says which. PostgreSQL: restore with its own tools; no further command is needed.
Without FILE the log gets a new epoch, and the server refuses every older cursor.`,
    )
    .action(async (file: string | undefined, options: DatabaseOptions) => {
      const database = readDatabase(options);
      if (file === undefined) {
        await renewEpoch(database, systemRuntime);
        process.stderr.write('the log has a new epoch: older cursors get ERR_CURSOR_EPOCH\n');
        return;
      }
      if (database.kind === 'postgres') {
        const message = 'restore PostgreSQL with its own tools: no further command is needed';
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      const { keptPath, notice } = restoreSqlite(database.path, file);
      if (notice !== undefined) {
        process.stderr.write(`${notice}\n`);
      }
      if (keptPath !== undefined) {
        process.stderr.write(`the replaced database is kept as ${keptPath}\n`);
      }
      process.stderr.write('the log is restored: cursors of events that it lacks get ERR_CURSOR_DIVERGED\n');
    });
}
