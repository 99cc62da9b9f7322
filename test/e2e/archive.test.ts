/** Moving a log between engines, backing it up under load, and restoring it so that no client misses the loss. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { openEngine } from '../../src/engines/open.ts';
import { createLog } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { event, PAYLOADS, readAll, receiptsOf } from '../engines/contract.ts';
import { createDatabase } from '../support/postgres.ts';
import { runCommand, startProcess, TOKEN, tryPush } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { type Page, type Problem, startService } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

describe('moving and restoring', () => {
  let directory: TemporaryDirectory;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => {
    directory.remove();
  });
  const sqlite = (name: string): string => `sqlite:${join(directory.path, name)}`;
  const file = (name: string): string => join(directory.path, name);

  async function run(args: string[], databaseUrl: string): Promise<string> {
    const outcome = await runCommand(args, { DATABASE_URL: databaseUrl });
    assert.equal(outcome.code, 0, `${args.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout + outcome.stderr;
  }

  const databaseOf = (url: string): Parameters<typeof openEngine>[0] =>
    url.startsWith('sqlite:')
      ? { kind: 'sqlite', path: url.slice(7) }
      : { kind: 'postgres', url, listenUrl: undefined };

  const KEYED = { events: [event('keyed', 'k')], key: { value: 'K', fingerprint: 'f' } };

  async function fill(url: string): Promise<void> {
    const { store } = await openEngine(databaseOf(url), { runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    await log.append({ events: PAYLOADS.map((payload) => event('texts', 0, { payload })), key: null });
    for (let n = 1; n <= 20; n += 1) {
      await log.append({ events: [event('pruned', n, { id: `i${n}` })], key: null });
    }
    await log.append(KEYED);
    await log.append({ events: [event('gone', 1)], key: null });
    await log.prune({ keepPerAccessId: 5 });
    await log.close();
  }

  /** All that a reader can see, and where it ends. */
  async function contents(url: string): Promise<unknown> {
    const { store } = await openEngine(databaseOf(url), { runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    try {
      const feeds = await Promise.all(
        ['texts', 'pruned', 'keyed', 'gone'].map(async (feed) => {
          const start = await log.resolve(feed, { after: 'start' });
          return [start, await readAll(log, feed, start), await log.lastPlace(feed)];
        }),
      );
      const again = receiptsOf(await log.append(KEYED));
      const [next] = receiptsOf(
        await log.append({
          events: [event('pruned', 5, { id: 'i20', payload: '20' })],
          key: null,
        }),
      );
      return { feeds, bounds: { ...(await log.bounds()), epoch: '' }, again, next };
    } finally {
      await log.close();
    }
  }

  const skip = missing('PostgreSQL');

  it(
    'a log moves from SQLite to PostgreSQL and back with every position, version and payload',
    { skip },
    async () => {
      const database = await createDatabase();
      await fill(sqlite('a.db'));
      await run(['export', file('a.ndjson')], sqlite('a.db'));
      await run(['import', file('a.ndjson')], database.url);
      await run(['export', file('b.ndjson')], database.url);
      await run(['import', file('b.ndjson')], sqlite('c.db'));
      const lines = (name: string): string[] => readFileSync(file(name), 'utf8').split('\n').sort();
      assert.deepEqual(lines('b.ndjson'), lines('a.ndjson'));
      const expected = await contents(sqlite('a.db'));
      assert.deepEqual(await contents(database.url), expected);
      assert.deepEqual(await contents(sqlite('c.db')), expected);
      const epoch = (name: string): unknown =>
        (JSON.parse(readFileSync(file(name), 'utf8').split('\n')[0] ?? '') as { epoch: string }).epoch;
      assert.equal(epoch('a.ndjson'), epoch('b.ndjson'), 'an import keeps the epoch');
      await run(['export', file('c.ndjson')], sqlite('c.db'));
      assert.equal(epoch('c.ndjson'), epoch('b.ndjson'));
      await database.drop();
    },
  );

  it(
    'an archive that is truncated or changed, or a log that is not empty, imports nothing',
    { skip },
    async () => {
      await fill(sqlite('a.db'));
      await run(['export', file('a.ndjson')], sqlite('a.db'));
      const text = readFileSync(file('a.ndjson'), 'utf8');
      const lines = text.split('\n');
      const database = await createDatabase();
      for (const [bad, complaint] of [
        [lines.slice(0, -2).join('\n'), 'truncated'],
        [lines.slice(1).join('\n'), 'line 1'],
        [
          [lines[0], lines[2], lines[1], ...lines.slice(3)].join('\n'),
          'line 3 has a position that is not above the one before',
        ],
        [text.replace('"version":', '"versio":'), 'line 2 is not a line of an archive'],
        [`${text}{}`, 'is not a line of an archive'],
      ] as const) {
        for (const url of [sqlite('b.db'), database.url]) {
          const outcome = await runCommand(['import'], { DATABASE_URL: url }, bad);
          assert.equal(outcome.code, 2, outcome.stderr);
          assert.ok(outcome.stderr.includes(complaint), outcome.stderr);
        }
      }
      for (const url of [sqlite('b.db'), database.url]) {
        await run(['import', file('a.ndjson')], url);
        const twice = await runCommand(['import', file('a.ndjson')], { DATABASE_URL: url });
        assert.deepEqual([twice.code, twice.stderr.includes('not empty')], [2, true]);
      }
      await database.drop();
    },
  );

  it('G13: after a backup under load, more events and a restore, cursors of lost events are refused, others hold, and pushes work', async () => {
    const url = sqlite('live.db');
    const server = await startProcess(file('live.db'));
    const pageOf = async (at: string): Promise<Page> => {
      const response = await fetch(`${at}/events?access_id=a&limit=5000`, {
        headers: { Authorization: `Bearer ${TOKEN}` },
      });
      return (await response.json()) as Page;
    };
    const count = async (at: string): Promise<number> => (await pageOf(at)).events.length;
    let pushed = 0;
    const push = async (): Promise<void> => {
      assert.ok(await tryPush(server.url, [{ accessid: 'a', created_at: pushed, payload: pushed }]));
      pushed += 1;
    };
    for (let n = 0; n < 50; n += 1) {
      await push();
    }
    const atLeast = pushed;
    const { cursor: kept } = await pageOf(server.url);
    const backup = run(['backup', file('backup.db')], url);
    for (let n = 0; n < 50; n += 1) {
      await push();
    }
    await backup;
    for (let n = 0; n < 10; n += 1) {
      await push();
    }
    const { cursor } = await pageOf(server.url);
    const busy = await runCommand(['restore', file('backup.db')], { DATABASE_URL: url });
    assert.deepEqual([busy.code, busy.stderr.includes('in use by another')], [1, true]);
    assert.equal(await server.end('SIGTERM'), 0);

    await run(['restore', file('backup.db')], url);
    const again = await startService({ DATABASE_URL: url });
    const restored = await count(again.url);
    assert.ok(restored >= atLeast && restored < pushed, `${restored} of ${pushed}`);
    const refused = await again.fetch(`/events?access_id=a&after=${cursor}`);
    const problem = (await refused.json()) as Problem;
    assert.deepEqual([refused.status, problem.code], [409, 'ERR_CURSOR_DIVERGED']);
    // The backup has the term of the lost events: the last restored event is common.
    const shared = (await again.page('a', '&limit=5000')).cursor;
    assert.deepEqual([problem.common, problem.common_by], [shared, 'term']);
    assert.deepEqual((await again.page('a', `&after=${kept}`)).events.length, restored - 50);
    assert.equal((await again.fetch(`/events?access_id=a&after=${problem.floor ?? ''}`)).status, 200);
    await again.push({ accessid: 'a', created_at: 1, payload: 'after' });
    assert.equal(await count(again.url), restored + 1);
    await again.stop();
  });

  it('a file that is not a backup is not restored, and the database stays as it is', async () => {
    await run(['seed'], sqlite('a.db'));
    writeFileSync(file('rubbish.db'), 'rubbish'.repeat(1_000));
    const before = readFileSync(file('a.db'));
    for (const from of ['rubbish.db', 'missing.db']) {
      const outcome = await runCommand(['restore', file(from)], { DATABASE_URL: sqlite('a.db') });
      assert.equal(outcome.code, 2, outcome.stderr);
    }
    assert.deepEqual(readFileSync(file('a.db')), before);
    assert.equal(existsSync(file('missing.db')), false);
    await run(['backup', file('copy.db')], sqlite('a.db'));
    const twice = await runCommand(['backup', file('copy.db')], { DATABASE_URL: sqlite('a.db') });
    assert.deepEqual([twice.code, twice.stderr.includes('exists')], [2, true]);
  });

  it('prune deletes the events outside the rule, and needs a rule', async () => {
    await run(['seed'], sqlite('a.db'));
    assert.match(await run(['prune', '--retention', '1/access_id'], sqlite('a.db')), /^7 events deleted$/m);
    assert.match(await run(['prune', '--retention', '30d'], sqlite('a.db')), /^0 events deleted$/m);
    for (const args of [['prune'], ['prune', '--retention', '30 days']]) {
      assert.equal((await runCommand(args, { DATABASE_URL: sqlite('a.db') })).code, 2);
    }
  });
});
