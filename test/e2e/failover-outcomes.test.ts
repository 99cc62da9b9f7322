/** What a push is told when the primary of PostgreSQL is lost inside it: appended, not appended, or not known. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import pg from 'pg';
import { createPublisher } from '../../src/client/index.ts';
import { runSql } from '../support/postgres.ts';
import { startProcess, tryPush } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { type Loss, type ReplicatedPair, startReplicatedPair } from '../support/replication.ts';
import { type Problem, type Service, startService, TOKEN } from '../support/service.ts';
import { until } from '../support/until.ts';

interface Stage {
  readonly pair: ReplicatedPair;
  readonly node: Service;
}

async function setUp(context: TestContext, isSynchronous: boolean): Promise<Stage> {
  const pair = await startReplicatedPair({ isSynchronous });
  context.after(() => pair.remove());
  const node = await startService({ DATABASE_URL: pair.url });
  context.after(() => node.stop());
  await node.push({ access_id: 'a', created_at: 1, id: 'first', payload: 'first' });
  return { pair, node };
}

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
}

async function push(node: Service, id: string): Promise<Answer> {
  const response = await node.post('/push_events', [{ access_id: 'a', created_at: 1, id, payload: id }]);
  const text = await response.text();
  return { status: response.status, code: text === 'true' ? undefined : (JSON.parse(text) as Problem).code };
}

/** Repeats it as a connector does, while the node turns to the new server. */
async function pushUntilAccepted(node: Service, id: string): Promise<void> {
  await until(async () => (await push(node, id)).status === 200, 'the push to be accepted');
}

interface Wait {
  /** Name of what PostgreSQL waits for. */
  readonly event: 'advisory' | 'SyncRep';
  /** Pattern of the statement that waits: the node writes its heartbeats too. */
  readonly statement: string;
  /** Called with the number of the process that waits. */
  readonly call?: string;
}

/** Waits until a statement of a node waits. */
async function untilWaiting(url: string, { event, statement, call }: Wait): Promise<void> {
  await until(async () => {
    const { rows } = await runSql(
      url,
      `select pid${call === undefined ? '' : `, ${call}(pid)`} from pg_stat_activity
       where application_name = 'lastseen' and wait_event = '${event}' and query ~ '${statement}'`,
    );
    return rows.length > 0;
  }, `${statement} to wait for ${event}`);
}

/** A group of new events, one of repeated events, and the search for the outcome of a lost group. */
const APPEND = 'lastseen_append';
const REPEAT = 'into writers';
const SETTLE = '^commit$';

const storedIn = async (url: string): Promise<string[]> =>
  (await runSql(url, 'select event_id from events order by position')).rows.map(
    ({ event_id: id }: { event_id: string }) => id,
  );

/** Pushes wait for it as they wait for the commit of another node. */
async function holdAppends(context: TestContext, url: string): Promise<void> {
  const holder = new pg.Client({ connectionString: url });
  holder.on('error', () => undefined);
  context.after(() => holder.end().catch(() => undefined));
  await holder.connect();
  await holder.query('begin; select pg_advisory_xact_lock(4793211001)');
}

const EVENT = { access_id: 'a', created_at: 1, id: 'pushed', payload: 'pushed' };

const UNKNOWN: Answer = { status: 504, code: 'ERR_OUTCOME_UNKNOWN' };

describe('a push in which the primary is lost', { skip: missing('PostgreSQL'), concurrency: true }, () => {
  for (const loss of ['killed', 'stopped'] satisfies Loss[]) {
    it(`G14: the outcome is not known if another server took over (primary ${loss}), and the publisher repeats until it is`, async (context) => {
      const { pair, node } = await setUp(context, false);
      await holdAppends(context, pair.primaryUrl);
      const pushed = push(node, 'pushed');
      await untilWaiting(pair.primaryUrl, { event: 'advisory', statement: APPEND });
      const publisher = createPublisher({ url: node.url, token: TOKEN });
      const published = publisher.push({
        accessId: 'a',
        createdAt: 1,
        id: 'published',
        payload: 'published',
      });
      pair.lose(loss);
      await pair.promote();
      assert.deepEqual(await pushed, UNKNOWN);
      const [result] = await published;
      assert.ok(result?.ok);
      await publisher.close();
      await pushUntilAccepted(node, 'pushed');
      assert.deepEqual(await storedIn(pair.standbyUrl), ['first', 'published', 'pushed']);
    });
  }

  it('G14: nothing was appended if the same server is back on its timeline without the events', async (context) => {
    const { pair, node } = await setUp(context, false);
    await holdAppends(context, pair.primaryUrl);
    const pushed = push(node, 'pushed');
    await untilWaiting(pair.primaryUrl, { event: 'advisory', statement: APPEND });
    pair.lose('killed');
    await pair.restartPrimary();
    assert.deepEqual(await pushed, { status: 503, code: 'ERR_STORE_UNAVAILABLE' });
    assert.deepEqual(await storedIn(pair.primaryUrl), ['first']);
  });

  it('G1: a commit whose wait for the synchronous standby was cancelled is not acknowledged', async (context) => {
    const { pair, node } = await setUp(context, true);
    pair.holdReplication();
    const pushed = push(node, 'pushed');
    await untilWaiting(pair.primaryUrl, { event: 'SyncRep', statement: APPEND, call: 'pg_cancel_backend' });
    await until(async () => (await storedIn(pair.primaryUrl)).includes('pushed'), 'the commit to be seen');
    // Now its outcome is being settled, by a commit that waits for the standby too.
    await untilWaiting(pair.primaryUrl, { event: 'SyncRep', statement: SETTLE });
    pair.lose('killed');
    await pair.promote();
    assert.deepEqual(await pushed, UNKNOWN);
    await pushUntilAccepted(node, 'pushed');
    assert.deepEqual(await storedIn(pair.standbyUrl), ['first', 'pushed']);
  });

  it('G1, G5: a repeated event is not acknowledged before the synchronous standby has it', async (context) => {
    const { pair, node } = await setUp(context, true);
    const doomed = await startProcess('', { DATABASE_URL: pair.url });
    context.after(() => doomed.end('SIGKILL'));
    pair.holdReplication();
    const pushed = tryPush(doomed.url, [EVENT]);
    await untilWaiting(pair.primaryUrl, { event: 'SyncRep', statement: APPEND });
    await doomed.end('SIGKILL');
    assert.equal(await pushed, false);
    pair.lose('killed');
    // Recovery shows the commit, which the standby lacks.
    await pair.restartPrimary();
    assert.deepEqual(await storedIn(pair.primaryUrl), ['first', EVENT.id]);
    const repeated = push(node, EVENT.id);
    await untilWaiting(pair.primaryUrl, { event: 'SyncRep', statement: REPEAT });
    pair.lose('killed');
    await pair.promote();
    assert.deepEqual(await repeated, UNKNOWN);
    assert.deepEqual(await storedIn(pair.standbyUrl), ['first']);
  });
});
