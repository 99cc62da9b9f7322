/** The primary of PostgreSQL is lost under load and its synchronous standby promoted: nodes go on, and nothing is lost. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { followAlways, startConnector, untilExact } from '../support/load.ts';
import { runSql } from '../support/postgres.ts';
import { startProcess, tryPush } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { type Loss, startReplicatedPair } from '../support/replication.ts';
import { type Service, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

const LOSSES: readonly Loss[] = ['killed', 'stopped', 'cut off in silence'];

describe('a synchronous standby', { skip: missing('PostgreSQL'), concurrency: true }, () => {
  for (const loss of LOSSES) {
    it(`G1, G3: the primary is ${loss}: nodes go on by themselves, nothing is lost, nobody gets a verdict`, async (context) => {
      const pair = await startReplicatedPair({ isSynchronous: true });
      context.after(() => pair.remove());
      const nodes: Service[] = [];
      context.after(() => Promise.all(nodes.map((node) => node.stop())));
      for (let count = 0; count < 2; count += 1) {
        nodes.push(await startService({ DATABASE_URL: pair.url }));
      }
      const ports = nodes.map(({ port }) => port);
      const followers = [followAlways(ports, 'failover'), followAlways([...ports].reverse(), 'failover')];
      context.after(() => Promise.all(followers.map((follower) => follower.stop())));
      const connectors = [0, 1, 2, 3].map((number) =>
        startConnector({ url: nodes[number % 2]?.url ?? '', accessId: 'failover', name: `c${number}` }),
      );
      context.after(() => Promise.all(connectors.map((connector) => connector.stop())));
      const acknowledged = (): number[] => connectors.map((connector) => connector.acknowledged.length);

      await until(() => acknowledged().every((count) => count >= 20), 'the first acknowledgements');
      pair.lose(loss);
      const before = acknowledged();
      await pair.promote();
      const promotedAt = performance.now();
      await until(
        () => acknowledged().every((count, index) => count >= (before[index] ?? 0) + 20),
        'acknowledgements of the new primary on both nodes',
      );
      context.diagnostic(`went on ${Math.round(performance.now() - promotedAt)} ms after the promotion`);
      await Promise.all(connectors.map((connector) => connector.stop()));

      const { rows } = await runSql(
        pair.standbyUrl,
        `select event_id from events where access_id = 'failover' order by position`,
      );
      const stored = rows.map(({ event_id: id }: { event_id: string }) => id);
      assert.deepEqual(
        [...stored].sort(),
        connectors.flatMap((connector) => connector.acknowledged).sort(),
        'each acknowledged event is there once, and no other',
      );
      for (const follower of followers) {
        await untilExact(follower, stored.length);
        assert.deepEqual(
          follower.events.map(({ payload }) => payload),
          stored,
        );
      }
      for (const node of nodes) {
        assert.equal((await node.fetch('/ready')).status, 200);
      }
    });
  }
});

it(
  'a node ends on SIGTERM while its PostgreSQL stands still',
  { skip: missing('PostgreSQL') },
  async (context) => {
    const pair = await startReplicatedPair({ isSynchronous: false });
    context.after(() => pair.remove());
    const node = await startProcess('', { DATABASE_URL: pair.primaryUrl });
    context.after(() => node.end('SIGKILL'));
    assert.ok(await tryPush(node.url, [{ access_id: 'a', created_at: 1, payload: 1 }]));
    pair.lose('stopped');
    assert.equal(await node.end('SIGTERM'), 0);
  },
);
