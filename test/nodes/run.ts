/** `npm run test:node`: the published package, and then the whole suite, on each line of Node. `--help` has the options. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installPackage, npm } from '../support/build.ts';
import { readCommandLine } from '../support/command-line.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Of 24 the checkout brings its own. */
const LINES: Readonly<Record<string, string | undefined>> = { 22: '22.23.3', 24: undefined, 26: '26.10.0' };

const TEST = ['--test', '--test-reporter=spec'];

const TESTS = join(import.meta.dirname, '..');
const CACHE = join(TESTS, '../node_modules/.cache/node');

const HELP = `npm run test:node -- [options]

Tests the package, and then runs all tests, on each line of Node that is supported.

  --short      the package and the memory of queries only
  --only LINE  ${Object.keys(LINES).join(', ')}
  --help       shows this
`;

const { options, fail } = readCommandLine(HELP, {
  options: { short: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const lines = Object.keys(LINES).filter((line) => options.only === undefined || line === options.only);
if (lines.length === 0) {
  fail(`--only must be one of ${Object.keys(LINES).join(', ')}, got ${options.only ?? ''}`);
}

const directory = temporaryDirectory();
const failed: string[] = [];
try {
  await installPackage(directory.path);
  for (const line of lines) {
    const node = await nodeOf(LINES[line]);
    process.stdout.write(`\nNode ${line}: ${spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout}`);
    const runs: [name: string, command: readonly string[]][] = [
      ['the package', [process.execPath, ...TEST, join(TESTS, 'nodes/package.check.ts')]],
      options.short
        ? ['the memory of queries', [node, ...TEST, join(TESTS, 'gateways/query/memory.test.ts')]]
        : ['the suite', [node, join(TESTS, 'run.ts')]],
    ];
    for (const [name, [program = '', ...args]] of runs) {
      const env = { ...process.env, CHECKED_NODE: node, CHECKED_DIRECTORY: directory.path };
      if (spawnSync(program, args, { env, stdio: 'inherit' }).status !== 0) {
        failed.push(`${name} on Node ${line}`);
      }
    }
  }
} finally {
  directory.remove();
}
process.stdout.write(
  failed.length === 0 ? `\npassed on Node ${lines.join(', ')}\n` : `\nfailed: ${failed.join('; ')}\n`,
);
process.exitCode = failed.length === 0 ? 0 : 1;

/** The program of that version, which npm brings when it is not there yet. */
async function nodeOf(version: string | undefined): Promise<string> {
  if (version === undefined) {
    return process.execPath;
  }
  const place = join(CACHE, version);
  const program = join(place, 'node_modules/node/bin/node');
  if (existsSync(program)) {
    return program;
  }
  mkdirSync(place, { recursive: true });
  // What npm 11 asks for before it lets a package put its program in place.
  writeFileSync(join(place, 'package.json'), '{"private":true,"allowScripts":{"node":true}}');
  await npm(['install', '--no-package-lock', `node@${version}`], place);
  return program;
}
