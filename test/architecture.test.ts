/** Imports point at `log`, and `log` points at nothing. The table is the rule. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { it } from 'node:test';

const SOURCE = join(import.meta.dirname, '../src');

/** What a room may import beside itself. A gateway's room is `gateways/NAME`. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'errors.ts': [],
  'json-text.ts': ['errors.ts'],
  'peers.ts': [],
  'runtime.ts': [],
  'backoff.ts': ['runtime.ts'],
  'atomic-file.ts': [],
  'system-runtime.ts': ['runtime.ts'],
  log: ['errors.ts', 'runtime.ts', 'config.ts', 'logger.ts'],
  delivery: ['errors.ts', 'runtime.ts', 'log', 'identity'],
  identity: ['errors.ts', 'runtime.ts', 'log'],
  engines: ['errors.ts', 'runtime.ts', 'backoff.ts', 'peers.ts', 'log', 'identity', '../migrations'],
  http: ['errors.ts', 'runtime.ts', 'json-text.ts', 'log', 'delivery', 'identity', 'logger.ts'],
  analysis: ['errors.ts', 'runtime.ts', 'log'],
  gateways: [
    'errors.ts',
    'runtime.ts',
    'json-text.ts',
    'peers.ts',
    'log',
    'delivery',
    'identity',
    'http',
    'analysis',
    'logger.ts',
  ],
  'config.ts': ['errors.ts', 'log', 'engines', 'identity'],
  'logger.ts': [],
  'version.ts': [],
  client: ['runtime.ts', 'backoff.ts', 'atomic-file.ts', 'system-runtime.ts'],
  console: ['client'],
};

/** These see everything. */
const ROOTS = ['server.ts', 'index.ts', 'cli'];

function roomOf(path: string): string {
  const [first = '', second = ''] = path.split('/');
  return first === 'gateways' ? `gateways/${second}` : first === '..' ? `../${second}` : first;
}

it('every import is one that its room may make', () => {
  const faults: string[] = [];
  for (const name of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })) {
    if (!/\.tsx?$/.test(name)) {
      continue;
    }
    const room = roomOf(name);
    if (ROOTS.includes(room)) {
      continue;
    }
    const allowed = ALLOWED[room.split('/')[0] ?? ''];
    assert.ok(allowed, `src/${name}: the room ${room} is not in the table`);
    readFileSync(join(SOURCE, name), 'utf8')
      .split('\n')
      .forEach((line, at) => {
        const target = /(?:from|import)\s*\(?\s*'(\.[^']+)'/.exec(line)?.[1];
        if (target === undefined) {
          return;
        }
        const to = roomOf(relative(SOURCE, resolve(SOURCE, dirname(name), target)));
        if (to !== room && !allowed.includes(to)) {
          faults.push(`src/${name}:${at + 1} imports ${to}`);
        }
      });
  }
  assert.deepEqual(faults, []);
});

it('SQL stands in engines, analysis and migrations only, the environment is read in config and cli only', () => {
  const faults: string[] = [];
  for (const name of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })) {
    if (!/\.tsx?$/.test(name)) {
      continue;
    }
    const text = readFileSync(join(SOURCE, name), 'utf8');
    if (
      !name.startsWith('engines/') &&
      !name.startsWith('analysis/') &&
      // What the console offers to an analyst to begin with.
      name !== 'console/example-queries.ts' &&
      /\b(select .+ from|insert into|delete from) \w+/.test(text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, ''))
    ) {
      faults.push(`src/${name}: SQL`);
    }
    if (!name.startsWith('cli/') && text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '').includes('process.env')) {
      faults.push(`src/${name}: process.env`);
    }
  }
  assert.deepEqual(faults, []);
});
