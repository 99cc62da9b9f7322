/** lastseen backup, lastseen restore, lastseen reset. */
import type { Command } from 'commander';
import type { Database } from '../../engines/engine.ts';
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
      .argument('[file]', 'backup to restore; omitted: as "lastseen reset"'),
  )
    .addHelpText(
      'after',
      `
Clients continue with the cursors that the restored log can prove. The server refuses every other cursor with
ERR_CURSOR_DIVERGED, so that no client silently misses the events that were lost. The replaced database is kept beside the
new one. Restore PostgreSQL with its own tools; nothing needs to be run afterwards.`,
    )
    .action(async (file: string | undefined, options: DatabaseOptions) => {
      const database = readDatabase(options);
      if (file === undefined) {
        await reset(database);
        return;
      }
      if (database.kind === 'postgres') {
        const message = 'restore PostgreSQL with its own tools: nothing needs to be run afterwards';
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      const { keptPath, notice } = restoreSqlite(database.path, file);
      if (notice !== undefined) {
        process.stderr.write(`${notice}\n`);
      }
      if (keptPath !== undefined) {
        process.stderr.write(`the replaced database is kept as ${keptPath}\n`);
      }
      process.stderr.write('restored: cursors of events that were lost get ERR_CURSOR_DIVERGED\n');
    });
}

export function addReset(program: Command): void {
  addDatabaseOption(
    program.command('reset').description('give the log a new epoch, so that every older cursor is refused'),
  )
    .addHelpText(
      'after',
      `
The events stay. Clients get ERR_CURSOR_EPOCH and read again from the start. Use it if clients must not continue: after a
restore or a failover it is not needed, since a cursor proves its history.`,
    )
    .action(async (options: DatabaseOptions) => {
      await reset(readDatabase(options));
    });
}

async function reset(database: Database): Promise<void> {
  await renewEpoch(database, systemRuntime);
  process.stderr.write('the log has a new epoch: older cursors get ERR_CURSOR_EPOCH\n');
}
