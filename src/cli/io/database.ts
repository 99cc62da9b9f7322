/** The option that names the database, the same for every command that works on one. */
import type { Command } from 'commander';
import { readConfig } from '../../config.ts';
import type { Database } from '../../engines/engine.ts';

export interface DatabaseOptions {
  readonly databaseUrl?: string;
}

export function addDatabaseOption(command: Command): Command {
  return command.option(
    '--database-url <url>',
    'sqlite:PATH or postgres://… (default sqlite:./data/lastseen.db) [DATABASE_URL]',
  );
}

/** @throws ERR_REQUEST_INVALID */
export function readDatabase(options: DatabaseOptions): Database {
  return readConfig({
    ...process.env,
    ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
  }).database;
}
