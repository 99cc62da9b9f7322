/**
 * The import rule: arrows point at `log`, and `log` points at nothing but the leaves. A room that is not in the table, an
 * arrow that the table does not allow, and a circle between files all fail.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { it } from 'node:test';

const SOURCE = join(import.meta.dirname, '../src');

/** Files that import no room; every room may import them. */
const LEAVES = ['errors.ts', 'json-text.ts', 'runtime.ts', 'backoff.ts', 'settings.ts'];

/** What a room may import beside itself and the leaves. A gateway's room is `gateways/NAME`. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'errors.ts': [],
  'json-text.ts': [],
  'runtime.ts': [],
  'backoff.ts': [],
  'settings.ts': [],
  'system-runtime.ts': [],
  'atomic-file.ts': [],
  'closers.ts': [],
  'peers.ts': [],
  'logger.ts': [],
  'version.ts': [],
  log: ['logger.ts'],
  identity: ['log'],
  delivery: ['log', 'identity'],
  engines: ['peers.ts', 'log', 'identity', '../migrations'],
  'engines/knex': ['engines', 'log', 'identity', '../migrations'],
  'engines/sqlite': [
    'engines',
    'engines/knex',
    'atomic-file.ts',
    'system-runtime.ts',
    'peers.ts',
    'log',
    'identity',
  ],
  'engines/postgres': ['engines', 'engines/knex', 'peers.ts', 'log', 'identity'],
  analysis: ['engines', 'log', 'system-runtime.ts'],
  'analysis/sqlite': ['analysis', 'system-runtime.ts'],
  'analysis/postgres': ['analysis', 'system-runtime.ts'],
  http: ['logger.ts', 'log', 'delivery', 'identity'],
  gateways: ['logger.ts', 'peers.ts', 'log', 'delivery', 'identity', 'http', 'analysis'],
  'config.ts': ['logger.ts', 'log', 'engines', 'identity', 'delivery', 'http', 'analysis', 'gateways'],
  client: ['system-runtime.ts', 'atomic-file.ts'],
  console: ['client'],
};

/** Rooms inside a room: they know one another only where the table says so. */
const NESTED = ['engines', 'analysis'];

/** Files that put rooms together. */
const ROOTS = [
  'server.ts',
  'index.ts',
  'cli',
  // Which engine a URL names; which sandbox a query runs in.
  'engines/open.ts',
  'analysis/runner.ts',
  // The shape of gateways names what they can ask for; the list names all of them.
  'gateways/gateway.ts',
  'gateways/index.ts',
];

interface Import {
  readonly from: string;
  readonly to: string;
  readonly line: number;
}

const FILES = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((name) =>
  /\.tsx?$/.test(name),
);

/** Every import of another file of the source, of types too. */
const IMPORTS: readonly Import[] = FILES.flatMap((from) =>
  readFileSync(join(SOURCE, from), 'utf8')
    .split('\n')
    .flatMap((text, index) => {
      const target = /(?:from|import)\s*\(?\s*'(\.[^']+)'/.exec(text)?.[1];
      const to = target && relative(SOURCE, resolve(SOURCE, dirname(from), target));
      return to === undefined ? [] : [{ from, to, line: index + 1 }];
    }),
);

function roomOf(path: string): string {
  const [first = '', second = '', third] = path.split('/');
  if (first === '..') {
    return `../${second}`;
  }
  if (first === 'gateways') {
    return third === undefined ? 'gateways' : `gateways/${second}`;
  }
  return NESTED.includes(first) && third !== undefined ? `${first}/${second}` : first;
}

function isRoot(path: string): boolean {
  return ROOTS.includes(path) || ROOTS.includes(roomOf(path));
}

function mayImport(from: string, to: string): boolean {
  const room = roomOf(from);
  const target = roomOf(to);
  if (room === target || LEAVES.includes(to)) {
    return true;
  }
  // The shape is for all gateways; its list is for the composition root.
  if (room.startsWith('gateways/') && target === 'gateways') {
    return to === 'gateways/gateway.ts';
  }
  const allowed = ALLOWED[room] ?? ALLOWED[room.split('/')[0] ?? ''] ?? [];
  // Whoever may import a room may import what it says of its settings, and nothing of a single gateway.
  return allowed.includes(target) || (allowed.includes('gateways') && to.endsWith('/settings.ts'));
}

it('every import is one that its room may make', () => {
  const unknown = FILES.filter(
    (name) => !isRoot(name) && !(roomOf(name) in ALLOWED) && !roomOf(name).startsWith('gateways/'),
  );
  assert.deepEqual(unknown, [], 'rooms that are not in the table');
  const faults = IMPORTS.filter(({ from, to }) => !isRoot(from) && !mayImport(from, to));
  assert.deepEqual(
    faults.map(({ from, to, line }) => `src/${from}:${line} imports ${to}`),
    [],
  );
});

it('no file imports itself through others', () => {
  const targets = new Map<string, string[]>();
  for (const { from, to } of IMPORTS) {
    targets.set(from, [...(targets.get(from) ?? []), to]);
  }
  const finished = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    if (finished.has(file)) {
      return;
    }
    for (const target of targets.get(file) ?? []) {
      visit(target, [...path, file]);
    }
    finished.add(file);
  };
  for (const file of FILES) {
    visit(file, []);
  }
  assert.deepEqual(circles, []);
});

/** The text without its comments. */
function codeOf(name: string): string {
  return readFileSync(join(SOURCE, name), 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '');
}

it('SQL stands in engines, analysis and migrations only', () => {
  const faults = FILES.filter(
    (name) =>
      !/^(engines|analysis)\//.test(name) &&
      // What the console offers to an analyst to begin with.
      name !== 'console/example-queries.ts' &&
      /\b(select .+ from|insert into|delete from) \w+/.test(codeOf(name)),
  );
  assert.deepEqual(faults, []);
});

it('only the command line reads the environment of the process', () => {
  const faults = FILES.filter((name) => !name.startsWith('cli/') && codeOf(name).includes('process.env'));
  assert.deepEqual(faults, []);
});
