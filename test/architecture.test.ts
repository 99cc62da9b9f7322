/** Imports point at `log`, and `log` points at nothing. The table is the rule. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { it } from 'node:test';

const SOURCE = join(import.meta.dirname, '../src');

/** What every room but the smallest may import. */
const EVERYWHERE = ['errors.ts', 'runtime.ts', 'logger.ts', 'settings.ts'];

const GATEWAY = [
  ...EVERYWHERE,
  'json-text.ts',
  'peers.ts',
  'log',
  'delivery',
  'identity',
  'http',
  'analysis',
];

/**
 * What a room may import beside itself. A file belongs to the room with the longest name that fits. Each folder of
 * `gateways` is a room of its own.
 */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'errors.ts': [],
  'json-text.ts': [],
  'peers.ts': [],
  'runtime.ts': [],
  'backoff.ts': ['runtime.ts'],
  'atomic-file.ts': [],
  'closers.ts': [],
  'settings.ts': ['runtime.ts'],
  'system-runtime.ts': ['runtime.ts'],
  'logger.ts': ['settings.ts'],
  'version.ts': [],
  log: [...EVERYWHERE, 'json-text.ts'],
  delivery: [...EVERYWHERE, 'log', 'identity'],
  identity: [...EVERYWHERE, 'log'],
  engines: [...EVERYWHERE, 'peers.ts', 'log', 'identity'],
  'engines/open.ts': [
    ...EVERYWHERE,
    'identity',
    'engines',
    'engines/knex',
    'engines/sqlite',
    'engines/postgres',
  ],
  'engines/knex': [...EVERYWHERE, 'log', 'identity', '../migrations'],
  'engines/sqlite': [...EVERYWHERE, 'atomic-file.ts', 'peers.ts', 'log', 'engines', 'engines/knex'],
  // Threads are composition roots: they make their own clock and timers.
  'engines/sqlite/checkpointer-thread.ts': ['engines/sqlite', 'system-runtime.ts'],
  'engines/sqlite/writer-thread.ts': ['engines', 'engines/sqlite', 'system-runtime.ts'],
  'engines/postgres': [
    ...EVERYWHERE,
    'peers.ts',
    'backoff.ts',
    'log',
    'engines',
    'engines/knex',
    'engines/postgres/connection.ts',
    'engines/postgres/server-identity.ts',
  ],
  // Every connection to PostgreSQL is opened here, those of queries too.
  'engines/postgres/connection.ts': [
    ...EVERYWHERE,
    'engines',
    'engines/postgres/host-choice.ts',
    'engines/postgres/server-identity.ts',
  ],
  'engines/postgres/host-choice.ts': ['engines', 'engines/postgres/server-identity.ts'],
  'engines/postgres/server-identity.ts': [],
  analysis: [...EVERYWHERE],
  'analysis/sqlite': [...EVERYWHERE, 'analysis'],
  'analysis/postgres': [
    ...EVERYWHERE,
    'analysis',
    'engines/postgres/connection.ts',
    'engines/postgres/server-identity.ts',
  ],
  // The process that runs queries, a composition root too.
  'analysis/runner.ts': [
    'errors.ts',
    'system-runtime.ts',
    'analysis',
    'analysis/sqlite',
    'analysis/postgres',
  ],
  http: [...EVERYWHERE, 'json-text.ts', 'log', 'delivery', 'identity'],
  gateways: [...GATEWAY, 'gateways/gateway.ts'],
  // The shape of a gateway names the ports that gateways make for one another.
  'gateways/gateway.ts': [...GATEWAY, 'gateways/fedecks', 'gateways/metrics'],
  client: ['runtime.ts', 'backoff.ts', 'atomic-file.ts', 'system-runtime.ts'],
  console: ['client'],
};

/** These see everything; `config.ts` the settings, `gateways/index.ts` the gateways. */
const ROOTS = ['server.ts', 'config.ts', 'index.ts', 'cli', 'gateways/index.ts'];

interface Import {
  /** Both relative to `src`. */
  readonly from: string;
  readonly to: string;
  readonly line: number;
}

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((name) =>
  /\.tsx?$/.test(name),
);

/** All imports of files of ours, those of types too. */
const imports: readonly Import[] = files.flatMap((from) =>
  readFileSync(join(SOURCE, from), 'utf8')
    .split('\n')
    .flatMap((text, index) => {
      const target = /(?:from|import)\s*\(?\s*'(\.[^']+)'/.exec(text)?.[1];
      const to = target && relative(SOURCE, resolve(SOURCE, dirname(from), target));
      return to === undefined || to === '' ? [] : [{ from, to, line: index + 1 }];
    }),
);

function roomOf(path: string): string {
  const [first = '', second = ''] = path.split('/');
  if (first === 'gateways' || first === '..') {
    return `${first}/${second}`;
  }
  const rooms = Object.keys(ALLOWED).filter((room) => path === room || path.startsWith(`${room}/`));
  return rooms.sort((a, b) => b.length - a.length)[0] ?? first;
}

it('every import is one that its room may make', () => {
  const faults: string[] = [];
  for (const { from, to, line } of imports) {
    const room = roomOf(from);
    if (ROOTS.includes(room)) {
      continue;
    }
    const allowed = ALLOWED[room] ?? ALLOWED[room.split('/')[0] ?? ''];
    assert.ok(allowed, `src/${from}: the room ${room} is not in the table`);
    const target = roomOf(to);
    if (target !== room && !allowed.includes(target)) {
      faults.push(`src/${from}:${line} imports ${target}`);
    }
  }
  assert.deepEqual(faults, []);
});

it('no file imports itself through others, not even for a type', () => {
  const reached = new Map(files.map((file) => [file, reachableFrom(file)]));
  const circles = files
    .filter((file) => reached.get(file)?.has(file))
    .map((file) =>
      files
        .filter((other) => reached.get(file)?.has(other) && reached.get(other)?.has(file))
        .sort()
        .join(' '),
    );
  assert.deepEqual([...new Set(circles)], []);
});

function reachableFrom(file: string): ReadonlySet<string> {
  const reached = new Set<string>();
  const next = [file];
  for (let current = next.pop(); current !== undefined; current = next.pop()) {
    for (const { to } of imports.filter(({ from }) => from === current)) {
      if (!reached.has(to)) {
        reached.add(to);
        next.push(to);
      }
    }
  }
  return reached;
}

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
