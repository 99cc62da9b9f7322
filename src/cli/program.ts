/** The program of the command line: its commands, options and help texts. `main.ts` runs it. */
import { Command, type HelpConfiguration } from 'commander';
import { packageVersion } from '../version.ts';
import { optionFacts } from './io/options.ts';

/** Each command needs other parts of the source: the program loads only those of the command that is run. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import('./commands/serve.ts')).addServe,
  migrate: async () => (await import('./commands/migrate.ts')).addMigrate,
  push: async () => (await import('./commands/push.ts')).addPush,
  tail: async () => (await import('./commands/tail.ts')).addTail,
  query: async () => (await import('./commands/query.ts')).addQuery,
  seed: async () => (await import('./commands/seed.ts')).addSeed,
  backup: async () => (await import('./commands/backup.ts')).addBackup,
  restore: async () => (await import('./commands/backup.ts')).addRestore,
  verify: async () => (await import('./commands/verify.ts')).addVerify,
  reset: async () => (await import('./commands/backup.ts')).addReset,
  export: async () => (await import('./commands/export.ts')).addExport,
  import: async () => (await import('./commands/import.ts')).addImport,
  prune: async () => (await import('./commands/prune.ts')).addPrune,
  token: async () => (await import('./commands/token.ts')).addToken,
  client: async () => (await import('./commands/token.ts')).addClient,
  analyst: async () => (await import('./commands/analyst.ts')).addAnalyst,
  keys: async () => (await import('./commands/keys.ts')).addKeys,
};

const HELP: HelpConfiguration = {
  optionDescription(option) {
    const { choices, fallback } = optionFacts(option);
    const facts = [
      ...(choices === undefined ? [] : [choices.join(', ')]),
      ...(fallback === undefined ? [] : [`default: ${fallback}`]),
    ];
    return facts.length === 0 ? option.description : `${option.description} (${facts.join('; ')})`;
  },
};

/**
 * Builds the program with the command `name`, or with all commands if there is no such command. Wrong use throws a
 * `CommanderError` and does not end the process.
 */
export async function buildProgram(name?: string): Promise<Command> {
  const program = new Command('lastseen')
    .description('An event log: durable, ordered, and resumable from any cursor.')
    .version(packageVersion())
    .configureHelp(HELP);
  const command = COMMANDS[name ?? ''];
  for (const load of command === undefined ? Object.values(COMMANDS) : [command]) {
    (await load())(program);
  }
  throwOnWrongUse(program);
  return program;
}

function throwOnWrongUse(command: Command): void {
  command.exitOverride().showHelpAfterError('(run the command with --help to see its options)');
  command.commands.forEach(throwOnWrongUse);
}
