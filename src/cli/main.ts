/** The command line. Exit codes: 0 done, 1 failed, 2 used wrongly. */
import { Command, CommanderError } from 'commander';
import { LastseenError } from '../errors.ts';
import { packageVersion } from '../version.ts';

/** Each brings its own part of the house: only what is asked for is loaded. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import('./commands/serve.ts')).addServe,
  migrate: async () => (await import('./commands/migrate.ts')).addMigrate,
  push: async () => (await import('./commands/push.ts')).addPush,
  tail: async () => (await import('./commands/tail.ts')).addTail,
  query: async () => (await import('./commands/query.ts')).addQuery,
  seed: async () => (await import('./commands/seed.ts')).addSeed,
  backup: async () => (await import('./commands/backup.ts')).addBackup,
  restore: async () => (await import('./commands/backup.ts')).addRestore,
  export: async () => (await import('./commands/export.ts')).addExport,
  import: async () => (await import('./archive/archive.ts')).addImport,
  prune: async () => (await import('./commands/prune.ts')).addPrune,
  token: async () => (await import('./commands/token.ts')).addToken,
  client: async () => (await import('./commands/token.ts')).addClient,
  analyst: async () => (await import('./commands/analyst.ts')).addAnalyst,
  keys: async () => (await import('./commands/keys.ts')).addKeys,
};

// Who reads us may stop reading: that is an end, not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') {
    process.exit(0);
  }
  process.stderr.write(`lastseen: standard output: ${error.message}\n`);
  process.exit(1);
});

const program = new Command('lastseen')
  .description('An event log that people can be connected to.')
  .version(packageVersion())
  .showHelpAfterError('(add --help for the options)')
  .exitOverride();
const asked = COMMANDS[process.argv[2] ?? ''];
for (const load of asked === undefined ? Object.values(COMMANDS) : [asked]) {
  (await load())(program);
}
for (const command of program.commands) {
  command.exitOverride().showHelpAfterError('(add --help for the options)');
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else if (error instanceof TypeError && error.message === 'fetch failed') {
    const { code = 'no answer' } = (error.cause ?? {}) as { code?: string };
    process.stderr.write(
      `lastseen: the server cannot be reached (${code}): is it running, is --url right?\n`,
    );
    process.exitCode = 1;
  } else {
    const isExpected = error instanceof LastseenError || (error instanceof Error && 'code' in error);
    process.stderr.write(
      `lastseen: ${error instanceof Error ? (isExpected ? error.message : (error.stack ?? error.message)) : String(error)}\n`,
    );
    process.exitCode = error instanceof LastseenError && error.code === 'ERR_REQUEST_INVALID' ? 2 : 1;
  }
}
