#!/usr/bin/env node
/** The command line. Exit codes: 0 done, 1 failed, 2 used wrongly. */
import { Command, CommanderError } from 'commander';
import { LastseenError } from '../log/errors.ts';
import { addAnalyst } from './analyst.ts';
import { packageVersion } from '../version.ts';
import { addExport, addImport } from './archive.ts';
import { addBackup, addRestore } from './backup.ts';
import { addKeys } from './keys.ts';
import { addMigrate } from './migrate.ts';
import { addPrune } from './prune.ts';
import { addPush } from './push.ts';
import { addQuery } from './query.ts';
import { addSeed } from './seed.ts';
import { addServe } from './serve.ts';
import { addTail } from './tail.ts';
import { addClient, addToken } from './token.ts';

const program = new Command('lastseen')
  .description('An event log that people can be connected to.')
  .version(packageVersion())
  .showHelpAfterError('(add --help for the options)')
  .exitOverride();
for (const add of [
  addServe,
  addMigrate,
  addPush,
  addTail,
  addQuery,
  addSeed,
  addBackup,
  addRestore,
  addExport,
  addImport,
  addPrune,
  addToken,
  addClient,
  addAnalyst,
  addKeys,
])
  add(program);
for (const command of program.commands)
  command.exitOverride().showHelpAfterError('(add --help for the options)');

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const isExpected = error instanceof LastseenError || (error instanceof Error && 'code' in error);
    process.stderr.write(
      `lastseen: ${error instanceof Error ? (isExpected ? error.message : (error.stack ?? error.message)) : String(error)}\n`,
    );
    process.exitCode = error instanceof LastseenError && error.code === 'ERR_REQUEST_INVALID' ? 2 : 1;
  }
}
