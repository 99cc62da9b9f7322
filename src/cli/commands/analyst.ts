/** lastseen analyst: a PostgreSQL role for analysts who connect directly to the database. */
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import { createAnalyst, passwordFault } from '../../analysis/postgres/analyst.ts';
import { LastseenError } from '../../errors.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

interface AnalystOptions extends DatabaseOptions {
  readonly name: string;
  readonly passwordStdin?: boolean;
}

export function addAnalyst(program: Command): void {
  const analyst = program.command('analyst').description('direct access for analysts on PostgreSQL: create');
  addDatabaseOption(
    analyst
      .command('create')
      .description(
        'create a PostgreSQL role that may read the tables and views for analysts and nothing else',
      )
      .option('--name <role>', 'name of the role', 'lastseen_analyst')
      .option('--password-stdin', 'read the password from standard input'),
  )
    .addHelpText(
      'after',
      `
The password is read from standard input with --password-stdin, or from LASTSEEN_ANALYST_PASSWORD. Without either, the
command makes a password and prints it once. Repeating the command changes the password. The user of DATABASE_URL needs
CREATEROLE. The command also creates the roles lastseen_query and lastseen_restricted, which POST /query uses, if they are
missing. SQLite needs no role: open the file read-only with any tool.`,
    )
    .action(async (options: AnalystOptions) => {
      await create(options);
    });
}

async function create(options: AnalystOptions): Promise<void> {
  const database = readDatabase(options);
  if (database.kind === 'sqlite') {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      'a SQLite file has no roles: open it read-only with any tool',
    );
  }
  const given =
    options.passwordStdin === true
      ? (await textOf(process.stdin)).replace(/\r?\n$/, '')
      : process.env['LASTSEEN_ANALYST_PASSWORD'];
  const password = given ?? Buffer.from(systemRuntime.random.bytes(24)).toString('base64url');
  const fault = passwordFault(password);
  if (fault !== undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', `the password ${fault}`);
  }
  await createAnalyst(database.url, { name: options.name, password }, systemRuntime.random);
  process.stdout.write(`role: ${options.name}\n`);
  if (given === undefined) {
    process.stdout.write(`password, shown only once: ${password}\n`);
  }
}
