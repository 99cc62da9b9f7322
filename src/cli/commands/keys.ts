/** lastseen keys: the keys that sign access tokens. */
import type { Command } from 'commander';
import type { Database } from '../../engines/engine.ts';
import { openIdentity } from '../../engines/open.ts';
import { createKeys } from '../../identity/keys.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readSettings } from '../io/settings.ts';

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('keys that sign access tokens: rotate');
  addDatabaseOption(
    keys
      .command('rotate')
      .description('sign new tokens with a new key; older tokens stay valid until they expire'),
  )
    .addHelpText('after', '\nRunning servers use the new key within 60 s.')
    .action(async (options: DatabaseOptions) => {
      const { database, keySecret } = readSettings({ DATABASE_URL: options.databaseUrl });
      process.stdout.write(`${await rotateKeys(database, keySecret)} signs new tokens\n`);
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
