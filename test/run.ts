/** Runs every test file, each in a process of its own, and closes with the runner's own counts. Arguments filter by name. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { findChromium } from './chromium.ts';
import { startPostgresServer } from './postgres.ts';

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
process.env['NODE_OPTIONS'] = '--import tsx';
const ownPostgres = (process.env['TEST_POSTGRES_URL'] ?? '') === '' ? await startPostgresServer() : undefined;
if (ownPostgres !== undefined) process.env['TEST_POSTGRES_URL'] = ownPostgres.url;
const hasPgbouncer = spawnSync('pgbouncer', ['--version']).status === 0;
run({ files, concurrency: Math.max(2, availableParallelism()), timeout: FILE_TIMEOUT_MS })
  .on('test:fail', () => {
    process.exitCode = 1;
  })
  .on('end', () => {
    void ownPostgres?.remove();
  })
  .pipe(new spec())
  .on('end', () => {
    if (!hasPgbouncer) process.stdout.write('pgbouncer is not installed: the tests behind it were not run\n');
    if (findChromium() === undefined)
      process.stdout.write('no Chromium is installed: the tests in a browser were not run\n');
  })
  .pipe(process.stdout, { end: false });
