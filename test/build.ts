/** The package as users get it, compiled, for the tests that install it. */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const SOURCES = ['src', 'migrations', 'seeds', 'package.json', 'tsconfig.json', 'tsconfig.build.json'];
const LAST_BUILT = 'dist/src/cli/main.js';

/** Builds `dist` unless it is newer than everything that it is made of. */
export function buildIfOlder(): void {
  const built = statSync(join(ROOT, LAST_BUILT), { throwIfNoEntry: false })?.ctimeMs ?? 0;
  if (SOURCES.some((source) => changedAt(join(ROOT, source)) >= built))
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' });
}

function changedAt(path: string): number {
  const found = statSync(path);
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(found.mtimeMs, ...readdirSync(path).map((name) => changedAt(join(path, name))));
}
