/** `npm run test:chaos`: the tests with faults from a seed, at a size that takes minutes. `--help` has the options. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { SEED } from '../support/chance.ts';
import { readCommandLine } from '../support/command-line.ts';
import { needsPostgres } from '../support/kinds.ts';
import { startPostgresServer } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';

/** Steps in a sequence at most: opening the log takes longer than most of them. */
const MAX_STEPS = '1000';

/** Each with the variable that says its size. */
const PARTS = {
  kills: { file: 'chaos/kills.test.ts', variable: 'CHAOS_KILLS' },
  postgres: { file: 'chaos/postgres.test.ts', variable: 'CHAOS_SECONDS' },
  clients: { file: 'client/chaos.test.ts', variable: 'CHAOS_SECONDS' },
  core: { file: 'log/resume.prop.test.ts', variable: 'CHAOS_RUNS' },
  tools: { file: 'e2e/tool-crash.test.ts', variable: 'CHAOS_EVERY_STEP' },
  restore: { file: 'e2e/restore-crash.test.ts', variable: 'CHAOS_EVERY_STEP' },
} as const;

const HELP = `npm run test:chaos -- [options]

Kills servers and tools, breaks the network and PostgreSQL, and plays steps on the log at
random, and checks each acknowledged event. A failure says the seed.

  --seed N     repeats the faults of a run
  --kills N    kills of a server on each engine, by default 110
  --seconds N  length of the faults of PostgreSQL, and of the network of
               clients, by default 400
  --runs N     sequences of steps on the log, by default 30
  --only PART  ${Object.keys(PARTS).join(', ')}
  --help       shows this
`;

const { options, fail } = readCommandLine(HELP, {
  options: {
    seed: { type: 'string', default: String(SEED) },
    kills: { type: 'string', default: '110' },
    seconds: { type: 'string', default: '400' },
    runs: { type: 'string', default: '30' },
    only: { type: 'string' },
  },
});
for (const name of ['seed', 'kills', 'seconds', 'runs'] as const) {
  if (!/^\d{1,10}$/.test(options[name])) {
    fail(`--${name} must be a number, got ${options[name]}`);
  }
}
const sizes = {
  CHAOS_KILLS: options.kills,
  CHAOS_SECONDS: options.seconds,
  CHAOS_RUNS: options.runs,
  CHAOS_EVERY_STEP: '1',
};
const parts = Object.entries(PARTS).filter(([name]) => options.only === undefined || name === options.only);
if (parts.length === 0) {
  fail(`--only must be one of ${Object.keys(PARTS).join(', ')}, got ${options.only ?? ''}`);
}

// As `npm test` does: a file that starts a PostgreSQL to share does not wait for its end.
const isGiven = (process.env['TEST_POSTGRES_URL'] ?? '') !== '';
const isNeeded = parts.some(([, { file }]) => needsPostgres(`test/${file}`));
const postgres =
  !isGiven && isNeeded && missing('PostgreSQL') === false ? await startPostgresServer() : undefined;
process.once('SIGINT', () => {
  void (postgres?.remove() ?? Promise.resolve()).finally(() => process.exit(130));
});
const environment = {
  ...process.env,
  ...sizes,
  CHAOS_STEPS: MAX_STEPS,
  CHAOS_SEED: options.seed,
  ...(postgres === undefined ? {} : { TEST_POSTGRES_URL: postgres.url }),
};

const failed: string[] = [];
for (const [name, { file, variable }] of parts) {
  process.stdout.write(`\n${name}: seed ${options.seed}, ${variable}=${sizes[variable]}\n`);
  const child = spawn(
    process.execPath,
    ['--test', '--test-reporter=spec', join(import.meta.dirname, '..', file)],
    { env: environment, stdio: 'inherit' },
  );
  const [status] = (await once(child, 'exit')) as [number | null];
  if (status !== 0) {
    failed.push(name);
  }
}
await postgres?.remove();
process.stdout.write(
  failed.length === 0 ? '\npassed\n' : `\nfailed: ${failed.join(', ')}. Repeat with --seed ${options.seed}\n`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
