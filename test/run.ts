/** `npm test`: runs test files, each in a process of its own, and ends with a summary. `--help` has the options. */
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { run } from 'node:test';
import { spec, type TestEvent } from 'node:test/reporters';
import { readCommandLine } from './support/command-line.ts';
import { isUnit, needsPostgres } from './support/kinds.ts';
import { startPostgresServer } from './support/postgres.ts';
import { missing } from './support/programs.ts';
import { isEmptyFile, summarize } from './support/summary.ts';

const FILE_TIMEOUT_MS = 300_000;
const ROOT = join(import.meta.dirname, '..');

const HELP = `npm test -- [options] [PART...]

Runs the test files whose path contains every PART; without one, all files.

  --title PATTERN  only the tests whose title, with the titles of the suites
                   around it, matches the regular expression
  --unit           only unit tests: no server, no PostgreSQL, no build
  --watch          runs files again when they or their imports change
  --slowest N      names the N slowest files at the end
  --help           shows this
`;

const {
  options,
  arguments: parts,
  fail,
} = readCommandLine(HELP, {
  allowPositionals: true,
  options: {
    title: { type: 'string' },
    unit: { type: 'boolean', default: false },
    watch: { type: 'boolean', default: false },
    slowest: { type: 'string', default: '0' },
  },
});
if (!/^\d+$/.test(options.slowest)) {
  fail(`--slowest must be a number of files, got ${options.slowest}`);
}

/** Compiled here, so that a faulty pattern is an error of this command. */
function readTitle(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    return fail(`--title: ${error instanceof Error ? error.message : String(error)}`);
  }
}
const title = options.title === undefined ? undefined : readTitle(options.title);

const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  .map((name) => `test/${name}`)
  .filter((path) => path.endsWith('.test.ts') && parts.every((part) => path.includes(part)))
  .filter((path) => !options.unit || isUnit(path))
  .sort();
if (files.length === 0) {
  fail(`no test file has ${parts.join(' and ')} in its path`);
}

const isGiven = (process.env['TEST_POSTGRES_URL'] ?? '') !== '';
const postgres =
  !isGiven && files.some(needsPostgres) && missing('PostgreSQL') === false
    ? await startPostgresServer()
    : undefined;
if (postgres !== undefined) {
  process.env['TEST_POSTGRES_URL'] = postgres.url;
}

// Test files and the servers that they start are the same modules, time and again.
process.env['NODE_COMPILE_CACHE'] ??= join(ROOT, 'node_modules/.cache/compile');

const tests = run({
  files: files.map((path) => join(ROOT, path)),
  // Many tests wait most of their time.
  concurrency: availableParallelism() + 1,
  timeout: FILE_TIMEOUT_MS,
  watch: options.watch,
  execArgv: ['--import', join(import.meta.dirname, 'support/leaks.ts')],
  ...(title === undefined ? {} : { testNamePatterns: title }),
});
const summary = summarize(tests, Number(options.slowest));
tests.on('test:fail', () => {
  process.exitCode = 1;
});
// Ctrl-C, the end of a watch.
process.once('SIGINT', () => {
  process.exitCode = 130;
  void (postgres?.remove() ?? Promise.resolve()).finally(() => process.exit());
});

await pipeline(tests, withoutEmptyFiles, new spec(), process.stdout, { end: false });
if (summary.count === 0) {
  process.exitCode = 1;
  process.stdout.write('no test has a title that matches\n');
}
process.stdout.write(`\n${summary.text()}\n`);
await postgres?.remove();

async function* withoutEmptyFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent, void> {
  for await (const event of events) {
    if (event.type !== 'test:pass' || !isEmptyFile(event.data)) {
      yield event;
    }
  }
}
