/** Runs every test file, each in a process of its own, and closes with the runner's own counts. Arguments filter by name. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { findChromium } from './support/chromium.ts';
import { startPostgresServer } from './support/postgres.ts';

const FILE_TIMEOUT_MS = 150_000;

const wanted = process.argv.slice(2);
const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts') && wanted.every((part) => name.includes(part)))
  .map((name) => join(import.meta.dirname, name))
  .sort();
if (files.length === 0) {
  process.stderr.write('no test file matches\n');
  process.exit(1);
}
const ownPostgres = (process.env['TEST_POSTGRES_URL'] ?? '') === '' ? await startPostgresServer() : undefined;
if (ownPostgres !== undefined) {
  process.env['TEST_POSTGRES_URL'] = ownPostgres.url;
}
const isAbsent = (command: string, ask: string): boolean => spawnSync(command, [ask]).status !== 0;
const absent = [
  ...(isAbsent('pgbouncer', '--version') ? ['pgbouncer'] : []),
  ...(isAbsent('erl', '-version') ? ['Erlang'] : []),
  ...(findChromium() === undefined ? ['Chromium'] : []),
];
// Many tests wait most of their time.
run({ files, concurrency: availableParallelism() + 1, timeout: FILE_TIMEOUT_MS })
  .on('test:fail', () => {
    process.exitCode = 1;
  })
  .on('end', () => {
    void ownPostgres?.remove();
  })
  .pipe(new spec())
  .on('end', () => {
    for (const name of absent) {
      process.stdout.write(`${name} is not installed: the tests that need it were not run\n`);
    }
  })
  .pipe(process.stdout, { end: false });
