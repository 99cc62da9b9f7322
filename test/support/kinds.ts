/**
 * What a test file needs, read from its imports and those of the test modules that it imports. A file says nothing
 * about its kind, so it cannot say something wrong.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** Importing this starts, or may start, a PostgreSQL. */
const POSTGRES = 'test/support/postgres.ts';

/** Nothing of these is imported by a unit test: servers, browsers and other programs. */
const SERVERS_AND_PROGRAMS: ReadonlySet<string> = new Set([
  POSTGRES,
  'test/support/service.ts',
  'src/server.ts',
  'src/index.ts',
  'node:child_process',
]);

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g;

/** The modules that a file imports, and those that the test modules among them import. Paths from the root. */
export function importsOf(path: string): Set<string> {
  const found = new Set<string>();
  const files = [path];
  for (const file of files) {
    for (const [, target = ''] of readFileSync(join(ROOT, file), 'utf8').matchAll(IMPORT)) {
      const module = target.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(file), target)) : target;
      if (!found.has(module)) {
        found.add(module);
        if (module.startsWith('test/')) {
          files.push(module);
        }
      }
    }
  }
  return found;
}

/** Codecs, the log in memory or on SQLite, and tables: no server, no PostgreSQL, no other program. */
export function isUnit(path: string): boolean {
  return [...importsOf(path)].every((module) => !SERVERS_AND_PROGRAMS.has(module));
}

export function needsPostgres(path: string): boolean {
  return importsOf(path).has(POSTGRES);
}
