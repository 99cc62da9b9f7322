/** A log that goes back: whatever put an older copy of the store in place, a cursor of a lost event is refused. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createDatabase, runSql } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { type Client, type Problem, type Service, startService, type WireEvent } from '../support/service.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const push = (service: Service, payload: unknown, accessId = 'a'): Promise<void> =>
  service.push({ accessid: accessId, created_at: 1, payload });

const payloadsOf = (events: readonly WireEvent[]): unknown[] => events.map(({ payload }) => payload);

async function verdictOf(service: Service, query: string, accept = 'application/json'): Promise<Problem> {
  const response = await service.fetch(`/events?access_id=a&${query}`, { headers: { Accept: accept } });
  const problem = (await response.json()) as Problem;
  assert.equal(response.status, 409, JSON.stringify(problem));
  return problem;
}

async function follow(service: Service, after: string, accessId = 'a'): Promise<Client> {
  const client = await service.connect();
  client.send({ access_id: accessId, after });
  return client;
}

/** Ends the connections of a client that a test leaves open. */
function terminate(...clients: readonly Client[]): void {
  for (const client of clients) {
    client.socket.terminate();
  }
}

describe('an older copy of the SQLite files', () => {
  const SUFFIXES = ['', '-wal', '-shm'];

  function copy(from: string, to: string): void {
    for (const suffix of SUFFIXES) {
      rmSync(to + suffix, { force: true });
      if (existsSync(from + suffix)) {
        copyFileSync(from + suffix, to + suffix);
      }
    }
  }

  it('G13: a cursor of a lost event is refused with what is common, and others resume exactly', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    const snapshot = join(directory.path, 'snapshot.db');
    let service = await startService({}, path);
    for (const payload of [1, 2, 3]) {
      await push(service, payload);
    }
    const before = await service.page('a');
    await service.stop();
    copy(path, snapshot);

    service = await startService({}, path);
    await push(service, 'lost');
    await push(service, 'also lost');
    const lost = await service.page('a');
    await service.stop();
    copy(snapshot, path);

    service = await startService({}, path);
    const [third, fourth, fifth] = [2, 3, 4].map((index) => lost.events[index]?.cursor ?? '');
    const early = await verdictOf(service, `after=${fifth ?? ''}`);
    assert.equal(early.code, 'ERR_CURSOR_DIVERGED', 'before the log has grown again');
    for (const payload of ['new 4', 'new 5', 'new 6']) {
      await push(service, payload);
    }
    for (const cursor of [fourth, fifth]) {
      for (const accept of ['application/json', 'text/event-stream']) {
        const verdict = await verdictOf(service, `after=${cursor ?? ''}`, accept);
        assert.equal(verdict.code, 'ERR_CURSOR_DIVERGED');
        // The snapshot does not know the term of the lost events: only the client's own trail tells what is common.
        assert.equal(verdict.common, undefined);
        assert.ok(verdict.floor !== undefined);
      }
      const trail = [cursor, third, before.events[0]?.cursor].join(',');
      const verdict = await verdictOf(service, `after=${cursor ?? ''}&trail=${trail}`);
      assert.deepEqual([verdict.common, verdict.common_by], [third, 'trail']);
    }
    const socket = await follow(service, fifth ?? '');
    assert.equal((await socket.typed('error'))['code'], 'ERR_CURSOR_DIVERGED');
    assert.equal((await socket.closed())[0], 4501);
    assert.deepEqual(payloadsOf((await service.page('a', `&after=${third ?? ''}`)).events), [
      'new 4',
      'new 5',
      'new 6',
    ]);
    await service.stop();
    directory.remove();
  });

  it('G13: what was lost at the end of a known term names the last common event', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    const snapshot = join(directory.path, 'snapshot.db');
    let service = await startService({}, path);
    await push(service, 1);
    await push(service, 'other', 'b');
    const { cursor: shared } = await service.page('a');
    // A copy that is taken while the server runs, like a snapshot of the volume.
    copy(path, snapshot);
    await push(service, 'lost');
    const { cursor: lost } = await service.page('a');
    await service.stop();
    copy(snapshot, path);
    service = await startService({}, path);
    for (const payload of ['new', undefined]) {
      const verdict = await verdictOf(service, `after=${lost}`);
      assert.deepEqual(
        [verdict.code, verdict.common, verdict.common_by],
        ['ERR_CURSOR_DIVERGED', shared, 'term'],
      );
      if (payload !== undefined) {
        await push(service, payload);
      }
    }
    assert.deepEqual(payloadsOf((await service.page('a', `&after=${shared}`)).events), ['new']);
    await service.stop();
    directory.remove();
  });
});

describe('a database that goes back under running nodes', { skip: missing('PostgreSQL') }, () => {
  /** What a restore or a failover does to the tables: the events after `position` were never there. */
  const goBack = (position: number, more = ''): string =>
    `begin;
     select pg_advisory_xact_lock(4793211001);
     alter table events disable trigger user;
     delete from events where position > ${position};
     alter table events enable trigger user;
     update log set head = ${position}, head_tag = (select coalesce(tag, 0) from events where position = ${position});
     ${more}
     commit`;

  async function withNodes(
    run: (nodes: readonly [Service, Service], databaseUrl: string) => Promise<void>,
  ): Promise<void> {
    const database = await createDatabase();
    const nodes = [
      await startService({ DATABASE_URL: database.url }),
      await startService({ DATABASE_URL: database.url }),
    ] as const;
    try {
      await run(nodes, database.url);
    } finally {
      await Promise.all(nodes.map((node) => node.stop()));
      await database.drop();
    }
  }

  it('G2, G13: no socket passes from one history to the other, and versions have no hole', async () => {
    await withNodes(async ([first, second], url) => {
      for (let payload = 1; payload <= 12; payload += 1) {
        await push(payload % 2 === 0 ? first : second, payload);
      }
      const sockets = [await follow(first, 'start'), await follow(second, 'start')];
      const seen = await Promise.all(sockets.map((socket) => socket.events(12)));
      const lost = seen[0]?.at(-1)?.cursor ?? '';
      const shared = seen[0]?.at(7)?.cursor ?? '';
      await runSql(url, goBack(8));
      for (const socket of sockets) {
        assert.equal((await socket.closed())[0], 1012);
        assert.equal((await socket.events(12)).length, 12);
      }
      // Each node knew the versions of the history that is gone.
      await push(first, 'new 9');
      await push(first, 'new 10');
      await push(second, 'new 11');
      for (const node of [first, second]) {
        const verdict = await verdictOf(node, `after=${lost}`);
        assert.equal(verdict.code, 'ERR_CURSOR_DIVERGED');
        const { events } = await node.page('a', `&after=${shared}`);
        assert.deepEqual(
          events.map(({ version, payload }) => [version, payload]),
          [
            [9, 'new 9'],
            [10, 'new 10'],
            [11, 'new 11'],
          ],
        );
      }
    });
  });

  it('G6, G13: a waiting long poll gets a verdict, and never a position of the other history', async () => {
    await withNodes(async ([first], url) => {
      for (let payload = 1; payload <= 6; payload += 1) {
        await push(first, payload);
      }
      const { cursor } = await first.page('a');
      const poll = first.fetch(`/events?access_id=a&after=${cursor}&wait=60`);
      await runSql(url, goBack(3, `update log set epoch = 'another1';`));
      const response = await poll;
      const answer = (await response.json()) as Problem;
      assert.deepEqual([response.status, answer.code], [409, 'ERR_CURSOR_EPOCH']);
    });
  });

  it('G13: the request that finds the other history is answered from it, not refused', async () => {
    await withNodes(async ([first], url) => {
      for (let head = 4; head > 1; head -= 1) {
        while ((await first.page('a')).events.length < 4) {
          await push(first, 'again');
        }
        const { cursor } = await first.page('a');
        await runSql(url, goBack(head - 1));
        // The node has not looked at the database since.
        assert.equal((await verdictOf(first, `after=${cursor}`)).code, 'ERR_CURSOR_DIVERGED');
      }
    });
  });

  it('G6: a database that fails in the moment of the change does not keep the node in the old history', async () => {
    await withNodes(async ([first], url) => {
      await push(first, 1);
      const socket = await follow(first, 'start');
      await socket.events(1);
      // The node finds the other epoch, and the look at the end of that log fails until the column is there again.
      await runSql(
        url,
        `begin; update log set epoch = 'another2'; alter table log rename column head_tag to hidden; commit`,
      );
      await runSql(url, 'alter table log rename column hidden to head_tag');
      assert.equal((await socket.closed())[0], 1012);
      await until(async () => (await first.fetch('/ready')).status === 200, 'the node to be ready');
      await push(first, 2);
      assert.deepEqual(payloadsOf((await first.page('a')).events), [1, 2]);
      assert.ok((await first.page('a')).cursor.startsWith('another2.'));
      terminate(socket);
    });
  });

  it('G10, G13: a revocation in the new history is heard by a node that was in the old one', async () => {
    await withNodes(async ([first, second], url) => {
      await push(first, 1);
      await runSql(url, goBack(1));
      await push(first, 2);
      const { cursor } = await first.page('a');
      const socket = await follow(second, cursor);
      await socket.typed('live');
      const dropped = await first.fetch('/drop_user', {
        method: 'POST',
        body: JSON.stringify({ drop_access_id: 'a' }),
        headers: { 'Content-Type': 'application/json' },
      });
      assert.ok(dropped.status < 300, String(dropped.status));
      assert.equal((await socket.closed())[0], 1000);
    });
  });
});
