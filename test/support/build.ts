/** The package as users get it: compiled, packed and installed. */
import { execFile } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const SOURCES = ['src', 'migrations', 'seeds', 'package.json', 'tsconfig.json', 'tsconfig.build.json'];
const LAST_BUILT = 'dist/src/cli/main.js';

/** npm and npx run what they start with the Node of this process. How the registry is reached is in the environment. */
export const NPM_ENVIRONMENT = {
  ...process.env,
  PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter),
};

/** Runs npm; `cwd` is where. */
export async function npm(args: readonly string[], cwd: string): Promise<void> {
  await run('npm', [...args, '--no-audit', '--no-fund', '--prefer-offline'], { cwd, env: NPM_ENVIRONMENT });
}

/** Installs the package of this checkout in an empty directory. */
export async function installPackage(directory: string): Promise<void> {
  await buildIfOlder();
  await npm(['pack', '--ignore-scripts', '--pack-destination', directory], ROOT);
  writeFileSync(join(directory, 'package.json'), '{"private":true,"type":"module"}');
  // Without scripts: nothing that a user gets is built while it is installed.
  await npm(['install', '--ignore-scripts', './lastseen-0.1.0.tgz'], directory);
}

/** Builds `dist` unless it is newer than everything that it is made of. */
async function buildIfOlder(): Promise<void> {
  const built = statSync(join(ROOT, LAST_BUILT), { throwIfNoEntry: false })?.ctimeMs ?? 0;
  if (SOURCES.some((source) => changedAt(join(ROOT, source)) >= built)) {
    await npm(['run', '--silent', 'build'], ROOT);
  }
}

function changedAt(path: string): number {
  const found = statSync(path);
  if (!found.isDirectory()) {
    return found.mtimeMs;
  }
  return Math.max(found.mtimeMs, ...readdirSync(path).map((name) => changedAt(join(path, name))));
}
