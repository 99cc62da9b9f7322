/** lastseen keys: the keys that sign tokens. */
import type { Command } from 'commander';
import { readConfig } from '../../config.ts';
import type { Database } from '../../engines/engine.ts';
import { openIdentity } from '../../engines/open.ts';
import { createKeys } from '../../identity/keys.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { databaseOption, type DatabaseOptions } from '../io/database.ts';

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('the keys that sign access tokens');
  databaseOption(
    keys
      .command('rotate')
      .description('sign with a new key from now on; tokens of the old ones hold until they end'),
  )
    .addHelpText('after', '\nServers may be running: they take the new key within a minute.')
    .action(async (options: DatabaseOptions) => {
      const { database, keySecret } = readConfig({
        ...process.env,
        ...(options.databaseUrl === undefined ? {} : { DATABASE_URL: options.databaseUrl }),
      });
      process.stdout.write(`${await rotateKeys(database, keySecret)} signs from now on\n`);
    });
}

/** Makes a new signing key in the database and returns its name. */
export async function rotateKeys(database: Database, secret: string | undefined): Promise<string> {
  const { identity, close } = openIdentity(database);
  try {
    return await createKeys({ keys: identity.keys, keySecret: secret, runtime: systemRuntime }).rotate();
  } finally {
    await close();
  }
}
