/** A pooler changes the server of PostgreSQL under open client sockets: the nodes find out by themselves. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { followAlways, startConnector, untilExact } from '../support/load.ts';
import { startPgbouncer } from '../support/pgbouncer.ts';
import { runSql } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { startReplicatedPair } from '../support/replication.ts';
import { type Service, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

it(
  'G13: behind a pooler that turns to a standby without the last commits, every client that saw a lost event gets the verdict',
  { skip: missing('PostgreSQL') || missing('pgbouncer') },
  async (context) => {
    const pair = await startReplicatedPair({ isSynchronous: false });
    context.after(() => pair.remove());
    const pooler = await startPgbouncer(`postgres://postgres@127.0.0.1:${pair.path.port}/postgres`);
    context.after(() => pooler.stop());
    const nodes: Service[] = [];
    context.after(() => Promise.all(nodes.map((node) => node.stop())));
    for (let count = 0; count < 2; count += 1) {
      nodes.push(await startService({ DATABASE_URL: pooler.url, DATABASE_LISTEN_URL: 'off' }));
    }
    const ports = nodes.map(({ port }) => port);
    await nodes[0]?.push({ access_id: 'quiet', created_at: 1, payload: 1 });
    const followers = [followAlways(ports, 'busy'), followAlways([...ports].reverse(), 'busy')];
    const quiet = followAlways(ports, 'quiet');
    context.after(() => Promise.all([...followers, quiet].map((follower) => follower.stop())));
    const connectors = [0, 1].map((number) =>
      startConnector({ url: nodes[number]?.url ?? '', accessId: 'busy', name: `c${number}` }),
    );
    context.after(() => Promise.all(connectors.map((connector) => connector.stop())));
    const untilMore = (what: string): Promise<void> => {
      const before = connectors.map(({ acknowledged }) => acknowledged.length);
      return until(
        () => connectors.every(({ acknowledged }, index) => acknowledged.length >= (before[index] ?? 0) + 20),
        what,
      );
    };

    await untilMore('the first acknowledgements');
    await untilExact(quiet, 1);
    pair.holdReplication();
    await untilMore('acknowledgements that the standby does not have');
    // The old primary runs on, without a client. Sockets between nodes and pooler stay open.
    pair.path.redirect(pair.standbyPort);
    await pair.promote();
    pair.path.cut();
    await untilMore('acknowledgements of the new primary on both nodes');
    await Promise.all(connectors.map((connector) => connector.stop()));
    await Promise.all(connectors.map((connector) => connector.repeat()));
    await nodes[1]?.push({ access_id: 'quiet', created_at: 2, payload: 2 });

    for (const follower of followers) {
      await until(() => follower.verdict !== undefined, 'the verdict');
      assert.equal(follower.verdict?.code, 'ERR_CURSOR_DIVERGED');
    }
    await untilExact(quiet, 2);
    const { rows } = await runSql(
      pair.standbyUrl,
      `select event_id from events where access_id = 'busy' order by position`,
    );
    assert.deepEqual(
      rows.map(({ event_id: id }: { event_id: string }) => id).sort(),
      connectors.flatMap(({ acknowledged }) => acknowledged).sort(),
    );
  },
);
