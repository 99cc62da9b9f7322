/** lastseen analyst: a login for direct access to the contract on PostgreSQL. */
import { randomBytes } from 'node:crypto';
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import { createAnalyst, passwordFault } from '../../analysis/postgres/analyst.ts';
import { LastseenError } from '../../errors.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { databaseOf, databaseOption, type DatabaseOptions } from '../io/database.ts';

interface AnalystOptions extends DatabaseOptions {
  readonly name: string;
  readonly passwordStdin?: boolean;
}

export function addAnalyst(program: Command): void {
  const analyst = program.command('analyst').description('direct access of analysts: create');
  databaseOption(
    analyst
      .command('create')
      .description('make a PostgreSQL role that may read the contract of docs/analysis.md and nothing else')
      .option('--name <role>', 'its name', 'lastseen_analyst')
      .option('--password-stdin', 'read the password from standard input'),
  )
    .addHelpText(
      'after',
      `
The password is read from standard input with --password-stdin, or from LASTSEEN_ANALYST_PASSWORD; without either one is
made and printed, this once. Repeating the command changes the password. The user of DATABASE_URL needs CREATEROLE.
The roles lastseen_query and lastseen_restricted, as which POST /query runs, are made too if they are missing.
On SQLite nothing is needed: open the file read-only with any tool.`,
    )
    .action(async (options: AnalystOptions) => {
      await create(options);
    });
}

async function create(options: AnalystOptions): Promise<void> {
  const database = databaseOf(options);
  if (database.kind === 'sqlite') {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      'a SQLite file has no roles: open it read-only with any tool (docs/analysis.md)',
    );
  }
  const given =
    options.passwordStdin === true
      ? (await textOf(process.stdin)).replace(/\r?\n$/, '')
      : process.env['LASTSEEN_ANALYST_PASSWORD'];
  const password = given ?? randomBytes(24).toString('base64url');
  const fault = passwordFault(password);
  if (fault !== undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', `the password ${fault}`);
  }
  await createAnalyst(database.url, { name: options.name, password }, systemRuntime.random);
  process.stdout.write(`role: ${options.name}\n`);
  if (given === undefined) {
    process.stdout.write(`password, shown this once: ${password}\n`);
  }
}
