/** PostgreSQL gone and back under load, a node killed, a pooler between: what was acknowledged is there, once. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { followAlways, untilExact } from '../support/load.ts';
import { startPgbouncer } from '../support/pgbouncer.ts';
import { createDatabase, runSql, startPostgresServer } from '../support/postgres.ts';
import { startProcess } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { until } from '../support/until.ts';

const authorization = { Authorization: `Bearer ${TOKEN}` };

interface Tally {
  readonly acknowledged: Set<string>;
  readonly refused: Set<string>;
  readonly unknown: Set<string>;
}

/** Pushes one event after the other until told to stop. */
async function pushUntil(
  url: () => string,
  name: string,
  isOver: () => boolean,
  tally: Tally,
): Promise<void> {
  for (let n = 0; !isOver(); n += 1) {
    const payload = `${name}-${n}`;
    try {
      const response = await fetch(`${url()}/push_events`, {
        method: 'POST',
        headers: { ...authorization, 'Content-Type': 'application/json' },
        body: JSON.stringify([{ accessid: 'outage', created_at: n, payload }]),
      });
      const text = await response.text();
      if (response.status === 200) {
        tally.acknowledged.add(payload);
      } else if (response.status === 503) {
        assert.ok(response.headers.get('retry-after'), text);
        tally.refused.add(payload);
        await sleep(20);
      } else {
        assert.equal(response.status, 504, text);
        tally.unknown.add(payload);
      }
    } catch {
      tally.unknown.add(payload);
      await sleep(20);
    }
  }
}

function check(tally: Tally, stored: readonly string[]): void {
  assert.equal(new Set(stored).size, stored.length, 'nothing is there twice');
  const there = new Set(stored);
  assert.deepEqual(
    [...tally.acknowledged].filter((payload) => !there.has(payload)),
    [],
    'no acknowledged event is lost',
  );
  assert.deepEqual(
    [...tally.refused].filter((payload) => there.has(payload)),
    [],
    'no refused event is there',
  );
}

const storedIn = async (url: string): Promise<string[]> =>
  (
    await runSql(
      url,
      `select payload #>> '{}' as payload from events where access_id = 'outage' order by position`,
    )
  ).rows.map((row: { payload: string }) => row.payload);

const skip = missing('PostgreSQL');

it(
  'G1, G3: PostgreSQL stopped and started under load: no false answer, and everybody ends exact',
  { skip },
  async (context) => {
    const postgres = await startPostgresServer();
    const database = await createDatabase(postgres.url);
    const nodes: Service[] = [];
    for (let n = 0; n < 2; n += 1) {
      nodes.push(await startService({ DATABASE_URL: database.url }));
    }
    const ports = nodes.map((node) => node.port);
    const followers = [followAlways(ports, 'outage'), followAlways([...ports].reverse(), 'outage')];
    const tally: Tally = { acknowledged: new Set(), refused: new Set(), unknown: new Set() };
    let isOver = false;
    context.after(async () => {
      isOver = true;
      await Promise.all(followers.map((follower) => follower.stop()));
      await Promise.all(nodes.map((node) => node.stop()));
      await postgres.remove();
    });
    const pushers = Array.from({ length: 12 }, (_, at) =>
      pushUntil(
        () => nodes[at % 2]?.url ?? '',
        `p${at}`,
        () => isOver,
        tally,
      ),
    );
    for (let round = 0; round < 3; round += 1) {
      await sleep(500 + 300 * round);
      await postgres.stop();
      const before = tally.refused.size;
      await until(() => tally.refused.size > before, 'a push to be refused');
      assert.equal((await fetch(`${nodes[0]?.url ?? ''}/ready`)).status, 503);
      await postgres.start();
      const acknowledged = tally.acknowledged.size;
      await until(() => tally.acknowledged.size > acknowledged, 'a push to be acknowledged again');
    }
    isOver = true;
    await Promise.all(pushers);
    const stored = await storedIn(database.url);
    check(tally, stored);
    assert.ok(tally.refused.size > 0 && tally.acknowledged.size > 100);
    for (const follower of followers) {
      await untilExact(follower, stored.length);
    }
  },
);

it(
  'G3: a node killed with -9: its clients go on at another from their cursor, exactly',
  { skip },
  async (context) => {
    const database = await createDatabase();
    const doomed = await startProcess('', { DATABASE_URL: database.url });
    const other = await startProcess('', { DATABASE_URL: database.url });
    const follower = followAlways([doomed.port, other.port], 'outage');
    const tally: Tally = { acknowledged: new Set(), refused: new Set(), unknown: new Set() };
    let isOver = false;
    context.after(async () => {
      isOver = true;
      await follower.stop();
      for (const node of [doomed, other]) {
        await node.end('SIGKILL');
      }
      await database.drop();
    });
    const pushers = [doomed.url, other.url].flatMap((url, at) =>
      Array.from({ length: 4 }, (_, n) =>
        pushUntil(
          () => url,
          `${at}-${n}`,
          () => isOver,
          tally,
        ),
      ),
    );
    await until(() => tally.acknowledged.size >= 200, '200 acknowledged pushes');
    await doomed.end('SIGKILL');
    const before = tally.acknowledged.size;
    await until(() => tally.acknowledged.size >= before + 200, '200 more acknowledged pushes');
    isOver = true;
    await Promise.all(pushers);
    const stored = await storedIn(database.url);
    check(tally, stored);
    await untilExact(follower, stored.length);
    await follower.stop();
    assert.equal(await other.end('SIGTERM'), 0);
  },
);

it(
  'G1: a node that stood still inside a push loses nothing that it acknowledges after it wakes',
  { skip },
  async (context) => {
    const database = await createDatabase();
    const node = await startProcess('', { DATABASE_URL: database.url });
    const holder = new pg.Client({ connectionString: database.url });
    await holder.connect();
    context.after(async () => {
      await holder.end();
      await node.end('SIGKILL');
      await database.drop();
    });
    const push = async (
      payload: string,
      headers: Record<string, string> = {},
    ): Promise<{ status: number; body: string }> => {
      const response = await fetch(`${node.url}/push_events`, {
        method: 'POST',
        headers: { ...authorization, 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify([{ accessid: 'outage', created_at: 1, payload }]),
      });
      return { status: response.status, body: await response.text() };
    };
    /** Ends the backend that appends, once it is where `condition` says. */
    const endWriter = (condition: string): Promise<void> =>
      until(async () => {
        const { rows } = await runSql(
          database.url,
          `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'lastseen' and ${condition}`,
        );
        return rows.length > 0;
      }, `the backend that appends: ${condition}`);
    const inTransaction = `state = 'idle in transaction'`;
    const waitingForLock = `wait_event_type = 'Lock' and wait_event = 'advisory'`;

    assert.equal((await push('before')).status, 200);
    // The statement before the last one of the transaction is answered while the node stands still.
    await runSql(
      database.url,
      `create function pause() returns trigger language plpgsql as
       $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
     create trigger pause after insert on batches for each statement execute function pause()`,
    );
    await holder.query('select pg_advisory_lock(1)');
    const paused = push('paused', { 'Idempotency-Key': 'paused' });
    await until(async () => {
      const { rows } = await runSql(
        database.url,
        `select 1 from pg_stat_activity where datname = current_database() and ${waitingForLock}`,
      );
      return rows.length > 0;
    }, 'the append to pause');
    node.child.kill('SIGSTOP');
    await holder.query('select pg_advisory_unlock(1)');
    await endWriter(inTransaction);
    node.child.kill('SIGCONT');
    assert.equal((await paused).status, 503);

    // The connection of the next push is lost while it waits for its turn.
    await holder.query('begin; select pg_advisory_xact_lock(4793211001)');
    const next = push('next');
    await endWriter(waitingForLock);
    await holder.query('commit');
    assert.equal((await next).status, 503);
    assert.deepEqual(await storedIn(database.url), ['before']);

    for (const payload of ['after', 'last']) {
      const { status, body } = await push(payload);
      assert.equal(status, 200, body);
    }
    assert.deepEqual(await storedIn(database.url), ['before', 'after', 'last']);
  },
);

it(
  'G3: behind pgbouncer in transaction mode everything holds, by polling',
  { skip: missing('PostgreSQL') || missing('pgbouncer') },
  async () => {
    const database = await createDatabase();
    const pooler = await startPgbouncer(database.url);
    const nodes = await Promise.all([
      startService({ DATABASE_URL: pooler.url, DATABASE_LISTEN_URL: 'off' }),
      startService({ DATABASE_URL: pooler.url }),
      startService({ DATABASE_URL: pooler.url, DATABASE_LISTEN_URL: database.url }),
    ]);
    const followers = nodes.map((node) => followAlways([node.port], 'outage'));
    const tally: Tally = { acknowledged: new Set(), refused: new Set(), unknown: new Set() };
    const isOver = (): boolean => tally.acknowledged.size >= 600;
    await Promise.all(
      Array.from({ length: 12 }, (_, at) =>
        pushUntil(() => nodes[at % 3]?.url ?? '', `b${at}`, isOver, tally),
      ),
    );
    const stored = await storedIn(database.url);
    check(tally, stored);
    assert.equal(tally.refused.size + tally.unknown.size, 0);
    for (const follower of followers) {
      await untilExact(follower, stored.length);
    }
    const list = (await (await nodes[0].fetch('/clients')).json()) as unknown[];
    assert.equal(list.length, 3);
    await Promise.all(followers.map((follower) => follower.stop()));
    await Promise.all(nodes.map((node) => node.stop()));
    await pooler.stop();
    await database.drop();
  },
);
