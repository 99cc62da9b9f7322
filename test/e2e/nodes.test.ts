/** Several nodes over one PostgreSQL: one order, one resume, one control, whatever happens to hints and connections. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import pg from 'pg';
import { createDatabase, runSql, type TestDatabase } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { startProxy } from '../support/proxy.ts';
import { type Client, type Page, type Problem, type Service, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

describe('several nodes', { skip: missing('PostgreSQL') }, () => {
  let database: TestDatabase;
  let nodes: Service[];
  let clients: Client[];

  beforeEach(async () => {
    database = await createDatabase();
    nodes = [];
    clients = [];
  });
  afterEach(async () => {
    for (const client of clients) {
      client.socket.terminate();
    }
    await Promise.all(nodes.map((node) => node.stop()));
    await database.drop();
  });

  async function start(settings: Record<string, string> = {}): Promise<Service> {
    const node = await startService({ DATABASE_URL: database.url, ...settings });
    nodes.push(node);
    return node;
  }

  async function follow(node: Service, accessId: string, after = 'start'): Promise<Client> {
    const client = await node.connect();
    clients.push(client);
    client.send({ access_id: accessId, after });
    await client.typed('live');
    return client;
  }

  const payloads = async (client: Client, count: number): Promise<unknown[]> =>
    (await client.events(count)).map((event) => event.payload);

  it('G2, G3: three nodes, 64 pushers and delays before the commit: no hole, no skip, no repeat', async () => {
    const three = await Promise.all([start(), start(), start()]);
    await runSql(
      database.url,
      `create function delay() returns trigger language plpgsql as
         $$ begin perform pg_sleep(random() * 0.01); return null; end $$;
       create trigger delay after insert on events for each statement execute function delay()`,
    );
    const followers = await Promise.all(
      three.flatMap((node) => ['feed-0', 'feed-1', 'feed-2', 'feed-3'].map((feed) => follow(node, feed))),
    );
    const rounds = 8;
    await Promise.all(
      Array.from({ length: 64 }, async (_, pusher) => {
        const node = three[pusher % 3];
        for (let round = 0; round < rounds; round += 1) {
          await node?.push({
            accessid: `feed-${(pusher + round) % 4}`,
            created_at: round,
            payload: `${pusher}-${round}`,
          });
        }
      }),
    );
    const each = (64 * rounds) / 4;
    for (const follower of followers) {
      const events = await follower.events(each);
      assert.deepEqual(
        events.map((event) => event.version),
        Array.from({ length: each }, (_, at) => at + 1),
      );
      assert.equal(new Set(events.map((event) => event.payload)).size, each);
    }
    const { rows } = await runSql(
      database.url,
      'select count(*)::int as count, max(position)::int as last from events',
    );
    assert.deepEqual(rows, [{ count: 64 * rounds, last: 64 * rounds }]);
  });

  it('G3: a foreign transaction that stays open changes nothing in delivery', async () => {
    const [a, b] = await Promise.all([start(), start()]);
    const foreign = new pg.Client({ connectionString: database.url });
    await foreign.connect();
    await foreign.query(`begin isolation level serializable; select pg_current_xact_id();
      insert into tokens values ('foreign', 'x', 'x', 0); select count(*) from events`);
    const follower = await follow(b, 'open');
    for (let n = 1; n <= 20; n += 1) {
      await a.push({ accessid: 'open', created_at: n, payload: n });
      assert.equal((await payloads(follower, n)).at(-1), n);
    }
    await foreign.query('rollback');
    await foreign.end();
  });

  it('G3: hints that are lost cost a poll: the LISTEN backend killed, and events go on', async () => {
    const [a, b] = await Promise.all([start(), start()]);
    const follower = await follow(b, 'killed');
    for (let n = 1; n <= 5; n += 1) {
      await runSql(
        database.url,
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lastseen listen' and datname = current_database()`,
      );
      await a.push({ accessid: 'killed', created_at: n, payload: n });
      assert.equal((await payloads(follower, n)).length, n);
    }
  });

  it('G3: a LISTEN connection that swallows bytes is noticed and replaced, and nothing waits for it', async () => {
    const proxy = await startProxy(Number(new URL(database.url).port));
    const through = new URL(database.url);
    through.port = String(proxy.port);
    const a = await start();
    const b = await start({ DATABASE_LISTEN_URL: through.href });
    const follower = await follow(b, 'half-open');
    const before = proxy.accepted;
    assert.equal(before, 1);
    proxy.swallow();
    await a.push({ accessid: 'half-open', created_at: 1, payload: 1 });
    assert.deepEqual(await payloads(follower, 1), [1]);
    await until(() => proxy.accepted > before, 'the heartbeat to replace the connection');
    assert.equal(proxy.accepted, before + 1);
    await a.push({ accessid: 'half-open', created_at: 2, payload: 2 });
    assert.deepEqual(await payloads(follower, 2), [1, 2]);
    await b.stop();
    nodes = nodes.filter((node) => node !== b);
    await proxy.close();
  });

  it('G3: without LISTEN a node polls', async () => {
    const a = await start({ DATABASE_LISTEN_URL: 'off' });
    const b = await start({ DATABASE_LISTEN_URL: 'off' });
    const follower = await follow(b, 'polled');
    await a.push({ accessid: 'polled', created_at: 1, payload: 1 });
    assert.deepEqual(await payloads(follower, 1), [1]);
  });

  it('G10: a drop on one node closes on the other too, and who comes back is let in', async () => {
    const [a, b] = await Promise.all([start(), start()]);
    const [here, there, other] = await Promise.all([follow(a, 'x'), follow(b, 'x'), follow(b, 'y')]);
    assert.equal((await a.post('/drop_user', { drop_access_id: 'x' })).status, 200);
    assert.deepEqual(await here.closed(), [1000, 'close']);
    assert.deepEqual(await there.closed(), [1000, 'close']);
    await follow(b, 'x');
    assert.equal(other.socket.readyState, other.socket.OPEN);
  });

  it('GET /clients answers for all nodes', async () => {
    const [a, b] = await Promise.all([start(), start()]);
    await Promise.all([follow(a, 'on-a'), follow(b, 'on-b')]);
    for (const node of [a, b]) {
      const list = (await (await node.fetch('/clients')).json()) as { access_id: string }[];
      assert.deepEqual(list.map((client) => client.access_id).sort(), ['on-a', 'on-b']);
      const text = await (await node.fetch('/clients', { headers: { Accept: 'text/plain' } })).text();
      assert.match(text, /^Connected clients:(on-a on-b |on-b on-a )$/);
    }
  });

  it('G3: what one node gave, every other goes on from', async () => {
    const [a, b] = await Promise.all([start(), start()]);
    await a.push(...[1, 2, 3].map((payload) => ({ accessid: 'shared', created_at: 1, payload })));
    const first = await a.page('shared', '&limit=2');
    const rest: Page = await b.page('shared', `&after=${first.cursor}`);
    assert.deepEqual(
      [...first.events, ...rest.events].map((event) => event.payload),
      [1, 2, 3],
    );
  });

  it('nodes that start at once on an empty database migrate it once and serve', async () => {
    const five = await Promise.all(Array.from({ length: 5 }, () => start()));
    const { rows } = await runSql(
      database.url,
      'select name, count(*)::int as count from knex_migrations group by name',
    );
    assert.ok(rows.length >= 1 && rows.every((row: { count: number }) => row.count === 1));
    for (const [at, node] of five.entries()) {
      await node.push({ accessid: 'all', created_at: at, payload: at });
    }
    assert.equal((await five[0]?.page('all'))?.events.length, 5);
  });

  it('G12: nodes that start at once make one admin token, and all of them take it', async () => {
    const both = await Promise.all([
      start({ LASTSEEN_ADMIN_TOKEN: '' }),
      start({ LASTSEEN_ADMIN_TOKEN: '' }),
    ]);
    const tokens = both.flatMap((node) => node.madeTokens);
    assert.equal(tokens.length, 1);
    for (const node of both) {
      const response = await fetch(`${node.url}/events?access_id=a`, {
        headers: { Authorization: `Bearer ${tokens[0] ?? ''}` },
      });
      assert.equal(response.status, 200);
    }
  });

  it('a migration lock that a dead node left behind stops nobody', async () => {
    const node = await start();
    await node.push({ accessid: 'a', created_at: 1, payload: 1 });
    await runSql(database.url, 'update knex_migrations_lock set is_locked = 1');
    assert.equal((await (await start()).page('a')).events.length, 1);
  });

  it('code older than the database refuses to start, and so does one without its migrations', async () => {
    await assert.rejects(start({ LASTSEEN_MIGRATE: 'off' }), /lacks migrations .*run "lastseen migrate"/);
    await start();
    await runSql(
      database.url,
      `insert into knex_migrations (name, batch, migration_time) values ('9999_future', 9, now())`,
    );
    await assert.rejects(start(), /newer than this program \(it has 9999_future\): upgrade lastseen/);
  });

  it('G6: when the log is replaced under running nodes, every client is sent away and its cursor refused', async () => {
    const node = await start();
    const follower = await follow(node, 'replaced');
    await node.push({ accessid: 'replaced', created_at: 1, payload: 1 });
    const cursor = (await follower.events(1))[0]?.cursor ?? '';
    await runSql(database.url, `update log set epoch = 'replaced'`);
    assert.equal((await follower.closed())[0], 1012);
    const response = await node.fetch(`/events?access_id=replaced&after=${cursor}`);
    const problem = (await response.json()) as Problem;
    assert.deepEqual([response.status, problem.code], [409, 'ERR_CURSOR_EPOCH']);
    const again = await follow(node, 'replaced');
    await node.push({ accessid: 'replaced', created_at: 2, payload: 2 });
    assert.deepEqual(await payloads(again, 2), [1, 2]);
  });

  it('G4: a group that was given up appends nothing, however late its statement comes', async () => {
    await start();
    const append = (group: number): Promise<unknown> =>
      runSql(
        database.url,
        `select * from lastseen_append(1, 'lost', ${group}, false, 0, (select epoch from log), 0, 0,
           false, 7, 1, 'test', -1, 0, array['a'], array[null]::bigint[], array[1], array[1], array['a'], array[1]::bigint[], array[null]::text[], array['1']::json[])`,
      );
    await append(1);
    await runSql(database.url, `update writers set last_group = 3 where writer_id = 'lost'`);
    for (const group of [1, 2, 3]) {
      await assert.rejects(append(group), /given up/);
    }
    const { rows } = await runSql(
      database.url,
      'select (select head from log)::int as head, count(*)::int from events',
    );
    assert.deepEqual(rows, [{ head: 1, count: 1 }]);
  });

  it('the database itself refuses to change, delete or truncate events', async () => {
    const node = await start();
    await node.push({ accessid: 'a', created_at: 1, payload: 1 });
    for (const sql of [`update events set payload = '9'`, 'delete from events', 'truncate events']) {
      await assert.rejects(runSql(database.url, sql), /append-only/);
    }
    const { rows } = await runSql(
      database.url,
      'select (select count(*) from event_history)::int as a, (select count(*) from event_counts)::int as b',
    );
    assert.deepEqual(rows, [{ a: 1, b: 1 }]);
  });
});
